#pragma once
// What ops with weights do to a block of rows while it is in the cache, and how their weights' gradients add
// up.

#include <twotower/autograd/tape.h>
#include <twotower/tensor/kernels/elementwise/elementwise.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>

namespace tt {

// Chunks of whole blocks, each with a sum of its own for the weight gradient; they are added up in order.
inline constexpr int64_t kMaxChunks = 32;

// sum[j] += x[:, j]. Float has kernels for these loops; a call with float pointers prefers them.
template <class T>
void add_column_sums(const T* x, int64_t rows, int64_t n, T* sum) {
  for (int64_t i = 0; i < rows; ++i, x += n)
    for (int64_t j = 0; j < n; ++j) sum[j] += x[j];
}
inline void add_column_sums(const float* x, int64_t rows, int64_t n, float* sum) {
  kernels::column_sums_to(sum, x, rows, n);
}

// dx = y > 0 ? dy : 0
template <class T>
void relu_backward(T* dx, const T* dy, const T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dx[i] = y[i] > 0 ? dy[i] : T(0);
}
using kernels::relu_backward;

// y += x
template <class T>
void add_to(T* y, const T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}
using kernels::add_to;

// to += partial[0] + partial[1] + ..., in this order. partial: [count, stride].
template <class T>
void add_partials(Accumulator<T> dw, const T* partial, int64_t count, int64_t stride, int64_t n) {
  T* to = dw.all();
  const int64_t grain = std::clamp<int64_t>(65536 / std::max<int64_t>(count, 1), 512, 32768);
  parallel_for(0, n, grain, [&](int64_t lo, int64_t hi) {
    for (int64_t c = 0; c < count; ++c) add_to(to + lo, partial + c * stride + lo, hi - lo);
  });
}

}  // namespace tt
