#pragma once
// What ops with weights do to a block of rows while it is in the cache, and how their weights' gradients add
// up.

#include <algorithm>

#include "autograd/tape.h"
#include "tensor/parallel.h"

namespace tt {

// Chunks of whole blocks, each with a sum of its own for the weight gradient; they are added up in order.
inline constexpr int64_t kMaxChunks = 32;

// y = activation(y + bias); bias may be null.
template <class T>
void bias_and_activation(T* y, int64_t rows, int64_t n, const T* bias, bool relu) {
  for (int64_t i = 0; i < rows; ++i, y += n) {
    if (bias)
      for (int64_t j = 0; j < n; ++j) y[j] += bias[j];
    if (relu)
      for (int64_t j = 0; j < n; ++j) y[j] = y[j] > 0 ? y[j] : T(0);
  }
}

// sum[j] += x[:, j]
template <class T>
void add_column_sums(const T* x, int64_t rows, int64_t n, T* sum) {
  for (int64_t i = 0; i < rows; ++i, x += n)
    for (int64_t j = 0; j < n; ++j) sum[j] += x[j];
}

// to (+)= partial[0] + partial[1] + ..., in this order. partial: [count, stride].
template <class T>
void add_partials(GradTarget<T> to, const T* partial, int64_t count, int64_t stride, int64_t n) {
  parallel_for(0, n, 32768, [&](int64_t lo, int64_t hi) {
    if (!to.add) std::fill(to.data + lo, to.data + hi, T(0));
    for (int64_t c = 0; c < count; ++c)
      for (int64_t j = lo; j < hi; ++j) to.data[j] += partial[c * stride + j];
  });
}

}  // namespace tt
