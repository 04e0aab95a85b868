#pragma once
// exp, log, tanh and friends on vectors, for kernel bodies. Polynomials are our own near-minimax fits (interpolation
// at Chebyshev nodes in 50 digits); the argument reductions are Cody and Waite's (1980). Doubles, for which accuracy
// counts and not speed, ask the C library.

#include <twotower/tensor/kernels/simd.h>

#include <type_traits>

namespace tt::kernels::TT_ISA {

// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2; e^r = 1 + r + r^2 p(r). What would be below the normal
// numbers is 0: a softmax's weights are factors of long sums, in which subnormal ones take some processors a hundred
// times as long.
TT_INLINE vf exp(vf x) {
  const vi tiny = x < -87.33654f;
  x = min(broadcast(89.0f), x);  // in this order of arguments NaN passes
#if TT_ISA_LEVEL != 2
  x = max(broadcast(-88.0f), x);  // n must fit its bits below
#endif
  const vf magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vf t = fma(x, broadcast(1.44269504f), magic);
  const vf n = t - magic;
  vf r = fma(n, broadcast(-0.693359375f), x);
  r = fma(n, broadcast(2.12194440e-4f), r);
  vf p = broadcast(1.392692661e-03f);
  p = fma(p, r, broadcast(8.363773874e-03f));
  p = fma(p, r, broadcast(4.166655011e-02f));
  p = fma(p, r, broadcast(1.666657338e-01f));
  p = fma(p, r, broadcast(0.5f));
  const vf y = fma(r * r, p, r) + 1.0f;
#if TT_ISA_LEVEL == 2
  return select(tiny, vf{}, scale_by_power(y, n));
#else
  const vi k = bits(t) - bits(magic);  // n as an integer; two factors, as 2^128 is no float
  const vi half = k >> 1;
  return select(tiny, vf{}, y * floats((half + 127) << 23) * floats((k - half + 127) << 23));
#endif
}

// 2^x for x <= 127, and 0 below -64: next to a softmax's largest weight, 1, that is beyond the last bit even of double,
// and products with such weights are what makes subnormal numbers. 2^n 2^f with |f| <= 1/2, and no reduction to round:
// a softmax whose scores come in units of log 2 pays a third less for it. NaN passes.
constexpr double kLeastPower = -64;
template <class V>
TT_INLINE V exp2(V x) {
  x = select(x < static_cast<float>(kLeastPower), broadcast_as<V>(-127.0f), x);  // comes out as a 0 of all bits
  const V magic = broadcast_as<V>(12582912.0f);                                  // as in exp
  const V t = x + magic;
  const V f = x - (t - magic);
  V p = broadcast_as<V>(1.545336197e-04f);
  p = fma(p, f, broadcast_as<V>(1.339109325e-03f));
  p = fma(p, f, broadcast_as<V>(9.618082183e-03f));
  p = fma(p, f, broadcast_as<V>(5.550356682e-02f));
  p = fma(p, f, broadcast_as<V>(2.402265076e-01f));
  p = fma(p, f, broadcast_as<V>(6.931471881e-01f));
  const V y = fma(p, f, broadcast_as<V>(1.0f));
  typedef int32_t I __attribute__((vector_size(sizeof(V))));
  return reinterpret_cast<V>(reinterpret_cast<I>(y) + (reinterpret_cast<I>(t) << 23));
}

// log x = e ln 2 + log(1 + f), 1 + f = x / 2^e in [sqrt(1/2), sqrt(2)).
TT_INLINE vf log(vf x) {
  const vi small = x < 1.17549435e-38f;
  const vf scaled = select(small, x * 8388608.0f, x);
  const vi shifted = bits(scaled) + (0x3f800000 - 0x3f3504f3);
  const vf e = to_float((shifted >> 23) - 127 - (small & 23));
  const vf f = floats((shifted & 0x007fffff) + 0x3f3504f3) - 1.0f;
  vf p = broadcast(6.971611471e-02f);
  p = fma(p, f, broadcast(-1.147973385e-01f));
  p = fma(p, f, broadcast(1.168541992e-01f));
  p = fma(p, f, broadcast(-1.242568733e-01f));
  p = fma(p, f, broadcast(1.424905765e-01f));
  p = fma(p, f, broadcast(-1.666780232e-01f));
  p = fma(p, f, broadcast(2.000071575e-01f));
  p = fma(p, f, broadcast(-2.499999696e-01f));
  p = fma(p, f, broadcast(3.333333118e-01f));
  const vf f2 = f * f;
  vf tail = fma(f * f2, p, e * -2.12194440e-4f);
  tail = fma(f2, broadcast(-0.5f), tail);
  const vf y = fma(e, broadcast(0.693359375f), f + tail);
  const vf inf = broadcast(__builtin_inff());
  vf result = select(x < inf, y, x);  // +inf and NaN as they are
  result = select(x == 0.0f, -inf, result);
  return select(x < 0.0f, broadcast(__builtin_nanf("")), result);
}

// log(1 + t), 0 <= t <= 1: the rounding of 1 + t is put back to first order.
TT_INLINE vf log1p(vf t) {
  const vf u = 1.0f + t;
  return log(u) + (t - (u - 1.0f)) / u;
}

TT_INLINE vf tanh(vf x) {
  const vf a = abs(x), s = x * x;
  vf p = broadcast(2.292744813e-03f);
  p = fma(p, s, broadcast(-8.343945513e-03f));
  p = fma(p, s, broadcast(2.176891865e-02f));
  p = fma(p, s, broadcast(-5.395925958e-02f));
  p = fma(p, s, broadcast(1.333330356e-01f));
  p = fma(p, s, broadcast(-3.333333317e-01f));
  const vf near = fma(x * s, p, x);
  const vf far = 1.0f - 2.0f / (exp(a + a) + 1.0f);
  const vi sign = bits(x) & static_cast<int32_t>(0x80000000);
  return select(a < 0.625f, near, floats(bits(far) | sign));
}

// The normal distribution function, erfc(-x / sqrt(2)) / 2. With t = 2 / (2 + z), erfc(z) = t e^(p(t) - z^2) for z >= 0
// (Press et al. 2007, "Numerical recipes", section 6.2; the fit is our own).
TT_INLINE vf normal_cdf(vf x) {
  const vf z = abs(x) * 0.707106781f, t = 2.0f / (2.0f + z);
  vf p = broadcast(1.377169808e-01f);
  p = fma(p, t, broadcast(-6.411483793e-01f));
  p = fma(p, t, broadcast(1.062266334e+00f));
  p = fma(p, t, broadcast(-5.688063656e-01f));
  p = fma(p, t, broadcast(-1.873602909e-01f));
  p = fma(p, t, broadcast(5.920482274e-02f));
  p = fma(p, t, broadcast(1.447770911e-02f));
  p = fma(p, t, broadcast(3.909545577e-01f));
  p = fma(p, t, broadcast(9.981164509e-01f));
  p = fma(p, t, broadcast(-1.265421778e+00f));
  const vf tail = 0.5f * t * exp(fma(-z, z, p));
  return select(x < 0.0f, tail, 1.0f - tail);
}

#if TT_ISA_LEVEL == 0
#define TT_EACH_LANE(NAME, F) \
  TT_INLINE vd NAME(vd x) { return vd{F(x[0]), F(x[1]), F(x[2]), F(x[3])}; }
TT_EACH_LANE(exp, __builtin_exp)
TT_EACH_LANE(log, __builtin_log)
TT_EACH_LANE(log1p, __builtin_log1p)
TT_EACH_LANE(tanh, __builtin_tanh)
TT_EACH_LANE(any_exp2, __builtin_exp2)
TT_EACH_LANE(erfc, __builtin_erfc)
#undef TT_EACH_LANE
TT_INLINE vd exp2(vd x) { return select(x < kLeastPower, vd{}, any_exp2(x)); }
TT_INLINE vd normal_cdf(vd x) { return 0.5 * erfc(x * -0.70710678118654752); }
#endif

template <class V>
TT_INLINE V sigmoid(V x) {
  return 1.0f / (1.0f + exp(-x));
}

template <class V>
TT_INLINE V gelu(V x) {
  return x * normal_cdf(x);
}

template <class V>
TT_INLINE V gelu_slope(V x) {
  using T = std::decay_t<decltype(x[0])>;
  return normal_cdf(x) + x * exp(x * x * T(-0.5)) * static_cast<T>(0.39894228040143268);
}

template <class V>
TT_INLINE V softplus(V x) {
  return max(V{}, x) + log1p(exp(-abs(x)));
}

}  // namespace tt::kernels::TT_ISA
