#pragma once
// Register tiles: MR x (NV vectors) of C stay in registers while k runs. For kernel bodies.

#include <twotower/tensor/kernels/gemm/gemm_body.h>
#include <twotower/tensor/kernels/simd.h>

namespace tt::kernels::TT_ISA {

#if TT_ISA_LEVEL == 2
constexpr int kMr = 14;  // 28 of 32 registers
#elif TT_ISA_LEVEL == 1
constexpr int kMr = 6;  // 12 of 16
#else
constexpr int kMr = 4;
#endif
constexpr int kNr = 2 * W;

// Four numbers are the widest unit that all sets have: 4 x 4 blocks are transposed in registers.
template <class T>
TT_INLINE void transpose4(const T* s, int64_t ld, T* d, int64_t ldd) {
  using Four = typename Vectors<T>::Four;
  const Four r0 = load_four(s), r1 = load_four(s + ld), r2 = load_four(s + 2 * ld), r3 = load_four(s + 3 * ld);
  const Four a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
  const Four e = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), f = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  store_four(d, __builtin_shufflevector(a, b, 0, 1, 4, 5));
  store_four(d + ldd, __builtin_shufflevector(a, b, 2, 3, 6, 7));
  store_four(d + 2 * ldd, __builtin_shufflevector(e, f, 0, 1, 4, 5));
  store_four(d + 3 * ldd, __builtin_shufflevector(e, f, 2, 3, 6, 7));
}

// source [n, k], rows ld apart -> d [k, n], rows ldd apart. The last blocks overlap those before them.
template <class T>
TT_INLINE void transpose(const T* s, int64_t ld, int64_t n, int64_t k, T* d, int64_t ldd) {
  if (n < 4 || k < 4) {
    for (int64_t j = 0; j < n; ++j)
      for (int64_t p = 0; p < k; ++p) d[p * ldd + j] = s[j * ld + p];
    return;
  }
  for (int64_t j = 0; j < n; j += 4) {
    if (j > n - 4) j = n - 4;
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) transpose4(s + j * ld + p, ld, d + p * ldd + j, ldd);
    if (p < k) transpose4(s + j * ld + k - 4, ld, d + (k - 4) * ldd + j, ldd);
  }
}

void gemm_block(const GemmBlock<float>& g);
#if TT_ISA_LEVEL == 0
void gemm_block(const GemmBlock<double>& g);
#endif

}  // namespace tt::kernels::TT_ISA
