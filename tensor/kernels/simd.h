#pragma once
// Vectors of W numbers for kernel bodies, on GCC's and Clang's vector_size types. Include only from OP_body.cc files:
// TT_ISA_LEVEL (0, 1, 2) comes from the build and picks the width and the namespace. The portable level has vectors of
// double too, of as many lanes, so that a body written over T walks the same tiles in both. Everything is static and
// forced inline, and nothing from the standard library is used here: a function compiled with wide instructions must
// never be the copy that the linker keeps for everyone.

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

// A body's functions as a kernel table (dispatch.h): of float at every level, of double at the portable one.
#if TT_ISA_LEVEL == 0
#define TT_DEFINE_TABLES(Table, name, ...)                   \
  extern const Table<float> name##_of_float = {__VA_ARGS__}; \
  extern const Table<double> name##_of_double = {__VA_ARGS__};
#else
#define TT_DEFINE_TABLES(Table, name, ...) extern const Table<float> name##_of_float = {__VA_ARGS__};
#endif

namespace tt::kernels::TT_ISA {

constexpr int W = TT_LANES;
typedef float vf __attribute__((vector_size(4 * TT_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * TT_LANES)));
typedef float vf_anywhere __attribute__((vector_size(4 * TT_LANES), aligned(4), may_alias));
typedef float v4 __attribute__((vector_size(16)));
typedef float v4_anywhere __attribute__((vector_size(16), aligned(4), may_alias));

// Half a vector, where that is half the work: a 512-bit machine that runs two 256-bit operations in the time
// of a wide one (Zen 4) pays 3.5 vectors for 50 lanes, not 4. Elsewhere there is none, and kHalf is W.
#if TT_ISA_LEVEL == 2
typedef float vh __attribute__((vector_size(32)));
typedef float vh_anywhere __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int64_t kHalf = 8;
#else
typedef vf vh;
constexpr int64_t kHalf = W;
#endif

// The vectors of numbers of type T: whole, half, and of four.
template <class T>
struct Vectors;
template <>
struct Vectors<float> {
  typedef vf Whole;
  typedef vh Half;
  typedef v4 Four;
};
template <class T>
using vec = typename Vectors<T>::Whole;
template <class T>
using half_vec = typename Vectors<T>::Half;

TT_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_anywhere*>(p); }
TT_INLINE void store(float* p, vf x) { *reinterpret_cast<vf_anywhere*>(p) = x; }
TT_INLINE v4 load_four(const float* p) { return *reinterpret_cast<const v4_anywhere*>(p); }
TT_INLINE void store_four(float* p, v4 x) { *reinterpret_cast<v4_anywhere*>(p) = x; }
TT_INLINE vi bits(vf x) { return reinterpret_cast<vi>(x); }
TT_INLINE vf floats(vi x) { return reinterpret_cast<vf>(x); }
TT_INLINE vf abs(vf x) { return floats(bits(x) & 0x7fffffff); }
TT_INLINE vf to_float(vi x) { return __builtin_convertvector(x, vf); }

#if TT_ISA_LEVEL == 0
typedef double vd __attribute__((vector_size(8 * TT_LANES)));
typedef int64_t vl __attribute__((vector_size(8 * TT_LANES)));
typedef double vd_anywhere __attribute__((vector_size(8 * TT_LANES), aligned(8), may_alias));
template <>
struct Vectors<double> {
  typedef vd Whole;
  typedef vd Half;
  typedef vd Four;
};
TT_INLINE vd load(const double* p) { return *reinterpret_cast<const vd_anywhere*>(p); }
TT_INLINE void store(double* p, vd x) { *reinterpret_cast<vd_anywhere*>(p) = x; }
TT_INLINE vd load_four(const double* p) { return load(p); }
TT_INLINE void store_four(double* p, vd x) { store(p, x); }
TT_INLINE vd abs(vd x) { return reinterpret_cast<vd>(reinterpret_cast<vl>(x) & 0x7fffffffffffffff); }
#endif

template <class V, class T>
TT_INLINE V broadcast_as(T x) {
  return x - V{};  // x - 0 keeps -0 and NaN
}
template <class T>
TT_INLINE vec<T> broadcast(T x) {
  return broadcast_as<vec<T>>(x);
}
template <class M, class V>
TT_INLINE V select(M mask, V yes, V no) {
  return mask ? yes : no;
}
TT_INLINE float root(float x) { return __builtin_sqrtf(x); }
TT_INLINE double root(double x) { return __builtin_sqrt(x); }

// fma: multiply and add, rounded once where the hardware has it. max, min: b where either is NaN, which is what the
// instructions do too. load_n: lanes n.. are 0 and not read; 0 <= n <= W. lanes_ge: bit i says that a[i] >= b[i].
#if TT_ISA_LEVEL == 2
// The maskz forms: the plain ones make GCC 12 warn of its own header's undefined pass-through.
TT_INLINE vf max(vf a, vf b) { return reinterpret_cast<vf>(_mm512_maskz_max_ps(0xffff, a, b)); }
TT_INLINE vf min(vf a, vf b) { return reinterpret_cast<vf>(_mm512_maskz_min_ps(0xffff, a, b)); }
TT_INLINE vf fma(vf a, vf b, vf c) { return reinterpret_cast<vf>(_mm512_fmadd_ps(a, b, c)); }
TT_INLINE vf sqrt(vf x) { return reinterpret_cast<vf>(_mm512_maskz_sqrt_ps(0xffff, x)); }
TT_INLINE vf scale_by_power(vf x, vf n) { return reinterpret_cast<vf>(_mm512_maskz_scalef_ps(0xffff, x, n)); }
TT_INLINE unsigned lane_mask(int64_t n) { return (1u << n) - 1u; }
TT_INLINE vf load_n(const float* p, int64_t n) {
  return reinterpret_cast<vf>(_mm512_maskz_loadu_ps(static_cast<__mmask16>(lane_mask(n)), p));
}
TT_INLINE void store_n(float* p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, static_cast<__mmask16>(lane_mask(n)), x); }
TT_INLINE unsigned lanes_ge(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
TT_INLINE bool any_ge(vf a, vf b) { return lanes_ge(a, b) != 0; }

TT_INLINE vh low(vf x) { return __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7); }
TT_INLINE vh load_half(const float* p) { return *reinterpret_cast<const vh_anywhere*>(p); }
TT_INLINE void store(float* p, vh x) { *reinterpret_cast<vh_anywhere*>(p) = x; }
TT_INLINE vh fma(vh a, vh b, vh c) { return reinterpret_cast<vh>(_mm256_fmadd_ps(a, b, c)); }
TT_INLINE vh max(vh a, vh b) { return reinterpret_cast<vh>(_mm256_max_ps(a, b)); }
TT_INLINE vh load_half_n(const float* p, int64_t n) {
  return reinterpret_cast<vh>(_mm256_maskz_loadu_ps(static_cast<__mmask8>(lane_mask(n)), p));
}
TT_INLINE void store_half_n(float* p, vh x, int64_t n) {
  _mm256_mask_storeu_ps(p, static_cast<__mmask8>(lane_mask(n)), reinterpret_cast<__m256>(x));
}
#elif TT_ISA_LEVEL == 1
TT_INLINE vf max(vf a, vf b) { return reinterpret_cast<vf>(_mm256_max_ps(a, b)); }
TT_INLINE vf min(vf a, vf b) { return reinterpret_cast<vf>(_mm256_min_ps(a, b)); }
TT_INLINE vf fma(vf a, vf b, vf c) { return reinterpret_cast<vf>(_mm256_fmadd_ps(a, b, c)); }
TT_INLINE vf sqrt(vf x) { return reinterpret_cast<vf>(_mm256_sqrt_ps(x)); }
TT_INLINE __m256i lane_mask(int64_t n) {
  const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
  return reinterpret_cast<__m256i>(lane < static_cast<int32_t>(n));
}
TT_INLINE vf load_n(const float* p, int64_t n) { return reinterpret_cast<vf>(_mm256_maskload_ps(p, lane_mask(n))); }
TT_INLINE void store_n(float* p, vf x, int64_t n) { _mm256_maskstore_ps(p, lane_mask(n), x); }
TT_INLINE unsigned lanes_ge(vf a, vf b) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
}
TT_INLINE bool any_ge(vf a, vf b) { return lanes_ge(a, b) != 0; }
#else
template <class V>
TT_INLINE V max(V a, V b) {
  return select(a > b, a, b);
}
template <class V>
TT_INLINE V min(V a, V b) {
  return select(a < b, a, b);
}
template <class V>
TT_INLINE V fma(V a, V b, V c) {
  return a * b + c;
}
template <class V>
TT_INLINE V sqrt(V x) {
  return V{root(x[0]), root(x[1]), root(x[2]), root(x[3])};
}
template <class T>
TT_INLINE vec<T> load_n(const T* p, int64_t n) {
  vec<T> x = {};
  for (int64_t i = 0; i < n; ++i) x[i] = p[i];
  return x;
}
template <class T>
TT_INLINE void store_n(T* p, vec<T> x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = x[i];
}
TT_INLINE bool any_ge(vf a, vf b) {
  const vi ge = a >= b;
  return (ge[0] | ge[1] | ge[2] | ge[3]) != 0;
}
TT_INLINE unsigned lanes_ge(vf a, vf b) {
  const auto ge = a >= b;
  return static_cast<unsigned>((ge[0] & 1) | (ge[1] & 2) | (ge[2] & 4) | (ge[3] & 8));
}
#endif

#if TT_ISA_LEVEL != 2
template <class V>
TT_INLINE V low(V x) {
  return x;
}
template <class T>
TT_INLINE vec<T> load_half(const T* p) {
  return load(p);
}
template <class T>
TT_INLINE vec<T> load_half_n(const T* p, int64_t n) {
  return load_n(p, n);
}
template <class T>
TT_INLINE void store_half_n(T* p, vec<T> x, int64_t n) {
  store_n(p, x, n);
}
#endif
template <class V, class T>
TT_INLINE V load_as(const T* p) {
  if constexpr (sizeof(V) == sizeof(vec<T>))
    return load(p);
  else
    return load_half(p);
}
// n lanes, rounded up to what whole vectors and one half vector hold.
TT_INLINE int64_t round_to_half(int64_t n) { return (n + kHalf - 1) / kHalf * kHalf; }

// Across lanes, by halves. A loop over such a sum has the same bits on every call.
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
#define TT_HALVE_TO_4(x, OP) const auto y = x;
#endif
template <class V>
TT_INLINE auto sum_lanes(V x) {
  TT_HALVE_TO_4(x, TT_PLUS)
  return (y[0] + y[2]) + (y[1] + y[3]);
}
template <class V>
TT_INLINE auto max_lanes(V x) {
  TT_HALVE_TO_4(x, TT_MAX)
  const auto a = TT_MAX(y[0], y[2]), b = TT_MAX(y[1], y[3]);
  return TT_MAX(a, b);
}

// f(i, n) over [0, n) in vectors: n is W except for one shorter step at the end.
#define TT_FOR_VECTORS(i, step, n) \
  for (int64_t i = 0, step = (n) < W ? (n) : W; i < (n); i += W, step = (n)-i < W ? (n)-i : W)

template <class T>
TT_INLINE vec<T> load_step(const T* p, int64_t n) {
  return n == W ? load(p) : load_n(p, n);
}
template <class T>
TT_INLINE void store_step(T* p, vec<T> x, int64_t n) {
  n == W ? store(p, x) : store_n(p, x, n);
}

// Lanes n.. are `fill`.
template <class T>
TT_INLINE vec<T> load_or(const T* p, int64_t n, T fill) {
  if (n == W) return load(p);
  alignas(64) T lanes[W];
  for (int i = 0; i < W; ++i) lanes[i] = i < n ? p[i] : fill;
  return load(lanes);
}

}  // namespace tt::kernels::TT_ISA
