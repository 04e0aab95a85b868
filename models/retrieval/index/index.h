#pragma once
// What finds the items with the highest inner products. An index is made of vectors once and never changes, so any
// number of threads search it; items that come, change and go are the catalog's (catalog.h).

#include <twotower/models/retrieval/index/top_items.h>
#include <twotower/tensor/kernels/topk/row_filter.h>
#include <twotower/tensor/tensor.h>

#include <cstdint>
#include <string_view>

namespace tt {

// What share of the true k best an index finds.
struct Recall {
  double share = 1;
  int64_t queries = 0,
          k = 0;  // how many were asked and for how many items each; 0: by definition, nothing was measured
};

class Index {
 public:
  virtual ~Index() = default;

  virtual std::string_view kind() const = 0;  // as --index names it
  virtual int64_t size() const = 0;           // C: rows are 0 .. C - 1
  virtual int64_t width() const = 0;          // D
  virtual Recall recall() const = 0;          // on a sample, when it was built

  // The k rows of highest inner product, best first, ties by smaller row, of those that the filter lets pass; fewer
  // where fewer are left. queries: [Q, D]. Scores are the inner products with the vectors as they were given, also
  // where the index holds them more coarsely. NaN is never returned. Throws Error for k < 1, widths that differ and a
  // filter that does not fit.
  virtual void search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter = {}) const = 0;
};

// What search() throws for, of any index; sizes `out`. Returns false where there is nothing to search for.
bool begin_search(const Index& index, Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter);

// The filter as kernels take it: a view.
kernels::RowsToSearch rows_to_search(const RowFilter& filter);

// For an index when it is built: its answers beside the exact ones. The queries are items with noise of a fourth of
// their length, evenly spread over the rows, so that they lie where the items do; k = 100, or as many as there are.
Recall measure_recall(const Index& index, Tensor<const float> items, int64_t queries = 64);

}  // namespace tt
