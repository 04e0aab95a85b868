#pragma once
// Ops that treat each row of a matrix by itself: f(i) in parallel, for every row i.

#include <twotower/autograd/ops/elementwise/elements.h>

namespace tt {

template <class F>
void for_each_row(int64_t rows, int64_t cols, F f) {
  parallel_for(0, rows, row_grain(2 * cols), [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) f(i);
  });
}

// Row i of the gradient: share(i, dx), where dx is to be added to.
template <class T, class Share>
void add_each_row(Accumulator<T> dx, Share share) {
  if (!dx) return;
  const int64_t rows = dx.rows(), cols = dx.cols();
  parallel_for(0, rows, row_grain(2 * cols), [&](int64_t lo, int64_t hi) {
    T* to = dx.rows(lo, hi);
    for (int64_t i = lo; i < hi; ++i, to += cols) share(i, to);
  });
}

// to[k] += the sum of what share(i, sum) adds to sum [size] for each row i: in chunks of rows, which depend on the
// sizes alone and whose sums are added in order.
template <class T, class Share>
void sum_rows_into(T* to, int64_t size, int64_t rows, int64_t cols, Arena& arena, Share share) {
  constexpr int64_t kMostChunks = 32;
  const int64_t grain = std::max(row_grain(cols), (rows + kMostChunks - 1) / kMostChunks);
  const int64_t chunks = (rows + grain - 1) / grain;
  const Tensor<T> sums = make_tensor<T>(arena, {chunks, size});
  parallel_for(0, rows, grain, [&](int64_t lo, int64_t hi) {
    T* sum = sums.row(lo / grain);
    std::fill_n(sum, size, T(0));
    for (int64_t i = lo; i < hi; ++i) share(i, sum);
  });
  for (int64_t c = 0; c < chunks; ++c)
    for (int64_t k = 0; k < size; ++k) to[k] += sums.row(c)[k];
}

}  // namespace tt
