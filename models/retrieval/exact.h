#pragma once
// Exact retrieval: the K items of the whole corpus with the highest inner product, best first, ties by smaller row.

#include <twotower/tensor/tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace tt {

// The answers to Q queries. A query for which fewer than k items are left has fewer; the rest of its row holds item -1
// and score -inf, and items() and scores() leave it out.
struct TopItems {
  int64_t k = 0;
  std::vector<int64_t> rows;    // [Q, k] item rows, best first
  std::vector<float> values;    // [Q, k]
  std::vector<int64_t> counts;  // [Q]

  void resize(int64_t queries, int64_t top);
  int64_t queries() const { return static_cast<int64_t>(counts.size()); }
  std::span<const int64_t> items(int64_t q) const { return {rows.data() + q * k, found(q)}; }
  std::span<const float> scores(int64_t q) const { return {values.data() + q * k, found(q)}; }

 private:
  size_t found(int64_t q) const { return static_cast<size_t>(counts[static_cast<size_t>(q)]); }
};

// Item rows to leave out, by query: rows[offsets[q] .. offsets[q + 1]), ascending and without repeats.
struct SkipRows {
  std::vector<int64_t> offsets, rows;
  void clear() { offsets.assign(1, 0), rows.clear(); }
};

class ExactIndex {
 public:
  ExactIndex() = default;
  // items: [C, D], a view that must outlive the index.
  explicit ExactIndex(Tensor<const float> items) : items_(items) {}

  int64_t size() const { return items_ ? items_.rows() : 0; }
  Tensor<const float> items() const { return items_; }

  // queries: [Q, D]. Throws Error for k < 1, widths that differ, and skip lists that do not fit the queries.
  void search(Tensor<const float> queries, int64_t k, TopItems& out, const SkipRows* skip = nullptr) const;

 private:
  Tensor<const float> items_;
};

}  // namespace tt
