#pragma once
// Ops that treat each row of a matrix by itself: f(i) in parallel, for every row i.

#include <twotower/autograd/ops/elements.h>

namespace tt {

template <class F>
void for_each_row(int64_t rows, int64_t cols, F f) {
  parallel_for(0, rows, row_grain(2 * cols), [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) f(i);
  });
}

// Row i of the gradient: share(i, dx), where dx is to be added to.
template <class T, class Share>
void add_each_row(Accumulator<T> dx, int64_t rows, int64_t cols, Share share) {
  if (!dx) return;
  parallel_for(0, rows, row_grain(2 * cols), [&](int64_t lo, int64_t hi) {
    T* to = dx.rows(lo, hi);
    for (int64_t i = lo; i < hi; ++i, to += cols) share(i, to);
  });
}

}  // namespace tt
