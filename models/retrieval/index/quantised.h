#pragma once
// Retrieval by a scan of rows held in 8 or 16 bits a number. A row's coarse score comes with a bound of how far it may
// be off; every row that may be among the k best is scored again with the vectors as they were given. What search()
// returns is therefore what ExactIndex returns, bit for bit, at a fraction of its memory traffic.

#include <twotower/models/retrieval/index/index.h>
#include <twotower/tensor/kernels/quantised/quantised.h>

#include <span>
#include <vector>

namespace tt {

using kernels::RowFormat;

class QuantisedIndex final : public Index {
 public:
  // What it holds beside the items, for storing.
  struct Parts {
    std::span<const std::byte> blocks;  // 32 rows interleaved, [size(), width()] filled up
    std::span<const float> scales;      // a row's; NaN: the row is always scored as given
    std::span<const float> bounds;      // 3 numbers
  };

  // items: [C, D], a view that must outlive the index.
  QuantisedIndex(Tensor<const float> items, RowFormat format);
  // From stored parts, views as well. Throws Error where their sizes do not fit the items.
  QuantisedIndex(Tensor<const float> items, RowFormat format, const Parts& parts, const Recall& recall);

  std::string_view kind() const override { return format_ == RowFormat::int8 ? "int8" : "fp16"; }
  int64_t size() const override { return items_ ? items_.rows() : 0; }
  int64_t width() const override { return items_ ? items_.cols() : 0; }
  Recall recall() const override { return recall_; }
  Parts parts() const { return parts_; }

  void search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter = {}) const override;

 private:
  void find_exceptions();

  Tensor<const float> items_;
  RowFormat format_;
  AlignedBlock own_;  // what parts_ views, where the index was built here
  Parts parts_;
  std::vector<int64_t> exceptions_;  // rows that no scale fits: not finite, or enormous
  Recall recall_;
};

}  // namespace tt
