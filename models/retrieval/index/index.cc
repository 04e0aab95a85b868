#include <twotower/models/retrieval/index/exact.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/random.h>

#include <cmath>

namespace tt {

bool begin_search(const Index& index, Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter) {
  check(k >= 1, "retrieve", "k = ", k, "; ask for at least 1 item");
  const int64_t q = queries ? queries.rows() : 0, size = index.size();
  out.resize(q, k);
  if (q == 0) return false;
  check(size > 0, "retrieve", "the index holds no items; build it from at least one item vector");
  check(queries.cols() == index.width(), "retrieve", "queries have ", queries.cols(), " dimensions, items ",
        index.width(), "; use vectors of one model");
  check(size <= int64_t{1} << 32, "retrieve", "the index has ", size, " items; split them into parts of at most 2^32");
  if (filter.skip)
    check(static_cast<int64_t>(filter.skip->offsets.size()) == q + 1, "retrieve", "there are ", q, " queries but ",
          static_cast<int64_t>(filter.skip->offsets.size()) - 1, " lists of items to leave out; give one a query");
  check(filter.allowed.empty() || static_cast<int64_t>(filter.allowed.size()) == (size + 63) / 64, "retrieve",
        "the filter has ", filter.allowed.size(), " words for ", size, " items; it must have a bit an item");
  return true;
}

kernels::RowsToSearch rows_to_search(const RowFilter& filter) {
  return {filter.skip ? filter.skip->offsets.data() : nullptr, filter.skip ? filter.skip->rows.data() : nullptr,
          filter.allowed.empty() ? nullptr : filter.allowed.data()};
}

Recall measure_recall(const Index& index, Tensor<const float> items, int64_t queries) {
  const int64_t c = items ? items.rows() : 0, d = items ? items.cols() : 0, n = std::min(queries, c);
  if (n < 1 || d < 1) return {};
  Pool pool;
  const Tensor<float> sample = make_tensor<float>(pool, {n, d});
  Philox(11, 1).fill_normal(sample.data(), sample.numel(), 0.0f, 0.25f / std::sqrt(static_cast<float>(d)));
  for (int64_t q = 0; q < n; ++q) {
    const float* item = items.row(q * c / n);
    double square = 0;
    for (int64_t j = 0; j < d; ++j) square += static_cast<double>(item[j]) * item[j];
    const auto length = static_cast<float>(std::sqrt(square));
    for (int64_t j = 0; j < d; ++j) sample.row(q)[j] = item[j] + length * sample.row(q)[j];
  }
  TopItems found, wanted;
  const int64_t k = std::min<int64_t>(100, c);
  index.search(sample, k, found);
  ExactIndex(items).search(sample, k, wanted);
  return {share_found(found, wanted), n, k};
}

}  // namespace tt
