#include <twotower/models/retrieval/index/exact.h>
#include <twotower/tensor/kernels/topk/topk.h>

namespace tt {

void ExactIndex::search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter) const {
  if (!begin_search(*this, queries, k, out, filter)) return;
  kernels::mips_topk(queries.data(), queries.rows(), items_.data(), items_.rows(), items_.cols(), k, out.rows.data(),
                     out.values.data(), out.counts.data(), rows_to_search(filter));
}

}  // namespace tt
