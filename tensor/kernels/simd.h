#pragma once
// Vectors of W floats for kernel bodies, on GCC's and Clang's vector_size types. Include only from OP_body.cc files:
// TT_ISA_LEVEL (0, 1, 2) comes from the build and picks the width and the namespace. Everything is static and forced
// inline, and nothing from the standard library is used here: a function compiled with wide instructions must never
// be the copy that the linker keeps for everyone.

#include <cstdint>

#if TT_ISA_LEVEL == 2
#include <immintrin.h>
#define TT_ISA avx512
#define TT_LANES 16
#elif TT_ISA_LEVEL == 1
#include <immintrin.h>
#define TT_ISA avx2
#define TT_LANES 8
#else
#define TT_ISA scalar
#define TT_LANES 4
#endif

#define TT_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define TT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TT_UNROLL _Pragma("GCC unroll 16")
#endif

namespace tt::kernels::TT_ISA {

constexpr int W = TT_LANES;
typedef float vf __attribute__((vector_size(4 * TT_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * TT_LANES)));
typedef float vf_anywhere __attribute__((vector_size(4 * TT_LANES), aligned(4), may_alias));

TT_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_anywhere*>(p); }
TT_INLINE void store(float* p, vf x) { *reinterpret_cast<vf_anywhere*>(p) = x; }
TT_INLINE vf broadcast(float x) { return x - vf{}; }  // x - 0 keeps -0 and NaN
TT_INLINE vf select(vi mask, vf yes, vf no) { return mask ? yes : no; }
// b where either is NaN, which is what the instructions do too.
#if TT_ISA_LEVEL == 2
TT_INLINE vf max(vf a, vf b) { return reinterpret_cast<vf>(_mm512_maskz_max_ps(0xffff, a, b)); }
TT_INLINE vf min(vf a, vf b) { return reinterpret_cast<vf>(_mm512_maskz_min_ps(0xffff, a, b)); }
#elif TT_ISA_LEVEL == 1
TT_INLINE vf max(vf a, vf b) { return reinterpret_cast<vf>(_mm256_max_ps(a, b)); }
TT_INLINE vf min(vf a, vf b) { return reinterpret_cast<vf>(_mm256_min_ps(a, b)); }
#else
TT_INLINE vf max(vf a, vf b) { return select(a > b, a, b); }
TT_INLINE vf min(vf a, vf b) { return select(a < b, a, b); }
#endif
TT_INLINE vi bits(vf x) { return reinterpret_cast<vi>(x); }
TT_INLINE vf floats(vi x) { return reinterpret_cast<vf>(x); }
TT_INLINE vf abs(vf x) { return floats(bits(x) & 0x7fffffff); }
TT_INLINE vf to_float(vi x) { return __builtin_convertvector(x, vf); }

// Multiply and add, rounded once where the hardware has it.
#if TT_ISA_LEVEL == 2
TT_INLINE vf fma(vf a, vf b, vf c) { return reinterpret_cast<vf>(_mm512_fmadd_ps(a, b, c)); }
// The maskz forms: the plain ones make GCC 12 warn of its own header's undefined pass-through.
TT_INLINE vf sqrt(vf x) { return reinterpret_cast<vf>(_mm512_maskz_sqrt_ps(0xffff, x)); }
TT_INLINE vf scale_by_power(vf x, vf n) { return reinterpret_cast<vf>(_mm512_maskz_scalef_ps(0xffff, x, n)); }
TT_INLINE unsigned lane_mask(int64_t n) { return (1u << n) - 1u; }
TT_INLINE vf load_n(const float* p, int64_t n) {  // lanes n.. are 0 and not read; 0 <= n <= W
  return reinterpret_cast<vf>(_mm512_maskz_loadu_ps(static_cast<__mmask16>(lane_mask(n)), p));
}
TT_INLINE void store_n(float* p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, static_cast<__mmask16>(lane_mask(n)), x); }
TT_INLINE bool any_ge(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ) != 0; }
#elif TT_ISA_LEVEL == 1
TT_INLINE vf fma(vf a, vf b, vf c) { return reinterpret_cast<vf>(_mm256_fmadd_ps(a, b, c)); }
TT_INLINE vf sqrt(vf x) { return reinterpret_cast<vf>(_mm256_sqrt_ps(x)); }
TT_INLINE __m256i lane_mask(int64_t n) {
  const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
  return reinterpret_cast<__m256i>(lane < static_cast<int32_t>(n));
}
TT_INLINE vf load_n(const float* p, int64_t n) { return reinterpret_cast<vf>(_mm256_maskload_ps(p, lane_mask(n))); }
TT_INLINE void store_n(float* p, vf x, int64_t n) { _mm256_maskstore_ps(p, lane_mask(n), x); }
TT_INLINE bool any_ge(vf a, vf b) { return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)) != 0; }
#else
TT_INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
TT_INLINE vf sqrt(vf x) {
  return vf{__builtin_sqrtf(x[0]), __builtin_sqrtf(x[1]), __builtin_sqrtf(x[2]), __builtin_sqrtf(x[3])};
}
TT_INLINE vf load_n(const float* p, int64_t n) {
  vf x = {};
  for (int64_t i = 0; i < n; ++i) x[i] = p[i];
  return x;
}
TT_INLINE void store_n(float* p, vf x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = x[i];
}
TT_INLINE bool any_ge(vf a, vf b) {
  const vi ge = a >= b;
  return (ge[0] | ge[1] | ge[2] | ge[3]) != 0;
}
#endif

// Half a vector, where that is half the work: a 512-bit machine that runs two 256-bit operations in the time
// of a wide one (Zen 4) pays 3.5 vectors for 50 lanes, not 4. Elsewhere there is none, and kHalf is W.
#if TT_ISA_LEVEL == 2
typedef float vh __attribute__((vector_size(32)));
typedef float vh_anywhere __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int64_t kHalf = 8;
TT_INLINE vh low(vf x) { return __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7); }
TT_INLINE void store(float* p, vh x) { *reinterpret_cast<vh_anywhere*>(p) = x; }
TT_INLINE vh fma(vh a, vh b, vh c) { return reinterpret_cast<vh>(_mm256_fmadd_ps(a, b, c)); }
TT_INLINE vh max(vh a, vh b) { return reinterpret_cast<vh>(_mm256_max_ps(a, b)); }
TT_INLINE vh load_half_n(const float* p, int64_t n) {
  return reinterpret_cast<vh>(_mm256_maskz_loadu_ps(static_cast<__mmask8>(lane_mask(n)), p));
}
TT_INLINE void store_half_n(float* p, vh x, int64_t n) {
  _mm256_mask_storeu_ps(p, static_cast<__mmask8>(lane_mask(n)), reinterpret_cast<__m256>(x));
}
#else
typedef vf vh;
typedef vf_anywhere vh_anywhere;
constexpr int64_t kHalf = W;
TT_INLINE vh low(vf x) { return x; }
TT_INLINE vh load_half_n(const float* p, int64_t n) { return load_n(p, n); }
TT_INLINE void store_half_n(float* p, vh x, int64_t n) { store_n(p, x, n); }
#endif
TT_INLINE vh load_half(const float* p) { return *reinterpret_cast<const vh_anywhere*>(p); }
template <class V>
TT_INLINE V load_as(const float* p) {
  if constexpr (sizeof(V) == sizeof(vf))
    return load(p);
  else
    return load_half(p);
}
template <class V>
TT_INLINE V broadcast_as(float x) {
  return x - V{};
}
// n lanes, rounded up to what whole vectors and one half vector hold.
TT_INLINE int64_t round_to_half(int64_t n) { return (n + kHalf - 1) / kHalf * kHalf; }

// Across lanes, by halves. A loop over such a sum has the same bits on every call.
typedef float v4 __attribute__((vector_size(16)));
#define TT_HALVES(NAME, OP)                             \
  TT_INLINE float NAME(vf x) {                          \
    TT_HALVE_TO_4(x, OP)                                \
    const float a = OP(y[0], y[2]), b = OP(y[1], y[3]); \
    return OP(a, b);                                    \
  }
#define TT_PLUS(a, b) ((a) + (b))
#define TT_MAX(a, b) ((a) > (b) ? (a) : (b))
#if TT_ISA_LEVEL == 2
#define TT_HALVE_TO_4(x, OP)                                                                               \
  typedef float v8 __attribute__((vector_size(32)));                                                       \
  const v8 lo = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7);                                     \
  const v8 hi = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);                               \
  const v8 z = OP(lo, hi);                                                                                 \
  const v4 z0 = __builtin_shufflevector(z, z, 0, 1, 2, 3), z1 = __builtin_shufflevector(z, z, 4, 5, 6, 7); \
  const v4 y = OP(z0, z1);
#elif TT_ISA_LEVEL == 1
#define TT_HALVE_TO_4(x, OP)                                                                               \
  const v4 z0 = __builtin_shufflevector(x, x, 0, 1, 2, 3), z1 = __builtin_shufflevector(x, x, 4, 5, 6, 7); \
  const v4 y = OP(z0, z1);
#else
#define TT_HALVE_TO_4(x, OP) const v4 y = x;
#endif
TT_HALVES(sum_lanes, TT_PLUS)
TT_HALVES(max_lanes, TT_MAX)

// f(i, n) over [0, n) in vectors: n is W except for one shorter step at the end.
#define TT_FOR_VECTORS(i, step, n) \
  for (int64_t i = 0, step = (n) < W ? (n) : W; i < (n); i += W, step = (n)-i < W ? (n)-i : W)

TT_INLINE vf load_step(const float* p, int64_t n) { return n == W ? load(p) : load_n(p, n); }
TT_INLINE void store_step(float* p, vf x, int64_t n) { n == W ? store(p, x) : store_n(p, x, n); }

}  // namespace tt::kernels::TT_ISA
