#include <twotower/models/retrieval/exact.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/kernels/topk/topk.h>

namespace tt {

void ExactIndex::search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter) const {
  check(k >= 1, "retrieve", "k = ", k, "; ask for at least 1 item");
  const int64_t q = queries ? queries.rows() : 0;
  out.resize(q, k);
  if (q == 0) return;
  check(size() > 0, "retrieve", "the index holds no items; build it from at least one item vector");
  check(queries.cols() == items_.cols(), "retrieve", "queries have ", queries.cols(), " dimensions, items ",
        items_.cols(), "; use vectors of one model");
  check(size() <= int64_t{1} << 32, "retrieve", "the index has ", size(),
        " items; split them into parts of at most 2^32");
  const SkipRows* skip = filter.skip;
  if (skip)
    check(static_cast<int64_t>(skip->offsets.size()) == q + 1, "retrieve", "there are ", q, " queries but ",
          static_cast<int64_t>(skip->offsets.size()) - 1, " lists of items to leave out; give one a query");
  check(filter.allowed.empty() || static_cast<int64_t>(filter.allowed.size()) == (size() + 63) / 64, "retrieve",
        "the filter has ", filter.allowed.size(), " words for ", size(), " items; it must have a bit an item");
  kernels::mips_topk(queries.data(), q, items_.data(), items_.rows(), items_.cols(), k, out.rows.data(),
                     out.values.data(), out.counts.data(), skip ? skip->offsets.data() : nullptr,
                     skip ? skip->rows.data() : nullptr, filter.allowed.empty() ? nullptr : filter.allowed.data());
}

}  // namespace tt
