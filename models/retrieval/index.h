#pragma once
// What finds the items with the highest inner products. An index is made of vectors once and never changes, so any
// number of threads search it; items that come, change and go are the catalog's (catalog.h).

#include <twotower/models/retrieval/top_items.h>
#include <twotower/tensor/tensor.h>

#include <cstdint>
#include <string_view>

namespace tt {

class Index {
 public:
  virtual ~Index() = default;

  virtual std::string_view kind() const = 0;  // as --index names it
  virtual int64_t size() const = 0;           // C: rows are 0 .. C - 1
  virtual int64_t width() const = 0;          // D

  // The k rows of highest inner product, best first, ties by smaller row, of those that the filter lets pass; fewer
  // where fewer are left. queries: [Q, D]. Scores are the inner products with the vectors as they were given, also
  // where the index holds them more coarsely. NaN is never returned. Throws Error for k < 1, widths that differ and a
  // filter that does not fit.
  virtual void search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter = {}) const = 0;
};

}  // namespace tt
