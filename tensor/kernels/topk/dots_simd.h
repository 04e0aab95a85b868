#pragma once
// Products of rows with a query. A row's product has the same bits whether it comes alone or as one of four, and
// whether rows lie side by side (topk) or anywhere (distance).

#include <twotower/tensor/kernels/gemm/gemm_simd.h>

namespace tt::kernels::TT_ISA {
namespace {

TT_INLINE void fetch_lines(const float* from, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(from + i);
}

TT_INLINE v4 halved(vf x) {
  TT_HALVE_TO_4(x, TT_PLUS)
  return y;
}

// Four sums that do not wait for each other; across lanes they share the last steps.
TT_INLINE v4 dots_of_four(const float* r0, const float* r1, const float* r2, const float* r3, int64_t d,
                          const float* query) {
  vf s0 = {}, s1 = {}, s2 = {}, s3 = {};
  TT_FOR_VECTORS (j, step, d) {
    const vf q = load_step(query + j, step);
    s0 = fma(load_step(r0 + j, step), q, s0);
    s1 = fma(load_step(r1 + j, step), q, s1);
    s2 = fma(load_step(r2 + j, step), q, s2);
    s3 = fma(load_step(r3 + j, step), q, s3);
  }
  const v4 y0 = halved(s0), y1 = halved(s1), y2 = halved(s2), y3 = halved(s3);
  const v4 a = __builtin_shufflevector(y0, y1, 0, 4, 2, 6) + __builtin_shufflevector(y0, y1, 1, 5, 3, 7);
  const v4 b = __builtin_shufflevector(y2, y3, 0, 4, 2, 6) + __builtin_shufflevector(y2, y3, 1, 5, 3, 7);
  return __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
}

TT_INLINE float dot_of_one(const float* row, int64_t d, const float* query) {
  vf s = {};
  TT_FOR_VECTORS (j, step, d) s = fma(load_step(row + j, step), load_step(query + j, step), s);
  const v4 y = halved(s);
  return (y[0] + y[1]) + (y[2] + y[3]);  // the order of the four-row form
}

}  // namespace
}  // namespace tt::kernels::TT_ISA
