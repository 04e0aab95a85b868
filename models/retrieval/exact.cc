#include <twotower/models/retrieval/exact.h>
#include <twotower/tensor/kernels/topk/topk.h>

namespace tt {

void ExactIndex::search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter) const {
  if (!begin_search(*this, queries, k, out, filter)) return;
  const SkipRows* skip = filter.skip;
  kernels::mips_topk(queries.data(), queries.rows(), items_.data(), items_.rows(), items_.cols(), k, out.rows.data(),
                     out.values.data(), out.counts.data(), skip ? skip->offsets.data() : nullptr,
                     skip ? skip->rows.data() : nullptr, filter.allowed.empty() ? nullptr : filter.allowed.data());
}

}  // namespace tt
