#pragma once
// What ops with weights do to a block of rows while it is in the cache, and how their weights' gradients add
// up.

#include <twotower/autograd/tape.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/kernels/elementwise/elementwise.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>

namespace tt {

// Rows that pass through a linear layer together: few enough that their inputs, outputs and gradients wait in the L2
// cache from one use to the next, many enough for a matrix product to run at full speed.
inline constexpr int64_t kBlockRows = 256;

// Chunks of whole blocks, each with a sum of its own for the weight gradient; they are added up in order. Of large
// weights there are fewer, so that the sums together stay below 4 million numbers or one gradient.
inline constexpr int64_t kMaxChunks = 32;
inline int64_t most_chunks(int64_t weights) {
  return std::clamp<int64_t>((int64_t{1} << 22) / std::max<int64_t>(weights, 1), 1, kMaxChunks);
}

// dx[lo .. hi, :] += a b, a: [hi - lo, k], b: [k, dx.cols()]. Rows that nothing has touched yet are written without
// being zeroed and read first.
template <class T>
void add_product(Accumulator<T> dx, int64_t lo, int64_t hi, int64_t k, const T* a, const T* b, int64_t ldb) {
  const T beta = dx.claim(lo, hi) ? T(0) : T(1);
  gemm<T>(false, false, hi - lo, dx.cols(), k, 1, a, k, b, ldb, beta, dx.rows(lo, hi), dx.cols());
}

// to += partial[0] + partial[1] + ..., in this order. partial: [count, stride].
template <class T>
void add_partials(Accumulator<T> dw, const T* partial, int64_t count, int64_t stride, int64_t n) {
  T* to = dw.all();
  const int64_t grain = std::clamp<int64_t>(65536 / std::max<int64_t>(count, 1), 512, 32768);
  parallel_for(0, n, grain, [&](int64_t lo, int64_t hi) {
    for (int64_t c = 0; c < count; ++c) kernels::add_to(to + lo, partial + c * stride + lo, hi - lo);
  });
}

}  // namespace tt
