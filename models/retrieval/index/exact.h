#pragma once
// Exact retrieval: every item is looked at.

#include <twotower/models/retrieval/index/index.h>

namespace tt {

class ExactIndex final : public Index {
 public:
  ExactIndex() = default;
  // items: [C, D], a view that must outlive the index.
  explicit ExactIndex(Tensor<const float> items) : items_(items) {}

  std::string_view kind() const override { return "exact"; }
  int64_t size() const override { return items_ ? items_.rows() : 0; }
  int64_t width() const override { return items_ ? items_.cols() : 0; }
  Recall recall() const override { return {}; }
  Tensor<const float> items() const { return items_; }

  void search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter = {}) const override;

 private:
  Tensor<const float> items_;
};

}  // namespace tt
