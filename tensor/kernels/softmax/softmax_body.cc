#include <twotower/tensor/kernels/softmax/softmax_body.h>
#include <twotower/tensor/kernels/vmath/vmath_simd.h>

namespace tt::kernels::TT_ISA {
namespace {

template <class T>
constexpr T kMinusInf = -static_cast<T>(__builtin_inff());

template <class T>
T bias_max(T* x, const T* bias, int64_t n) {
  vec<T> m = broadcast(kMinusInf<T>);
  if (bias == nullptr) {
    TT_FOR_VECTORS (j, step, n) m = max(load_or(x + j, step, kMinusInf<T>), m);
  } else {
    TT_FOR_VECTORS (j, step, n) {
      const vec<T> s = load_or(x + j, step, kMinusInf<T>) + load_step(bias + j, step);
      store_step(x + j, s, step);
      m = max(s, m);
    }
  }
  return max_lanes(m);
}

template <class T>
T exp_sum(T* x, T maximum, int64_t n) {
  vec<T> total = {};
  const vec<T> m = broadcast(maximum);
  int64_t j = 0;
  for (; j + 2 * W <= n; j += 2 * W) {
    const vec<T> a = exp(load(x + j) - m), b = exp(load(x + j + W) - m);
    store(x + j, a);
    store(x + j + W, b);
    total += a + b;
  }
  for (; j < n; j += W) {
    const int64_t step = n - j < W ? n - j : W;
    const vec<T> e = exp(load_or(x + j, step, kMinusInf<T>) - m);
    store_step(x + j, e, step);
    total += e;
  }
  return sum_lanes(total);
}

template <class T>
void scale(T* x, T factor, int64_t n) {
  TT_FOR_VECTORS (j, step, n) store_step(x + j, load_step(x + j, step) * factor, step);
}

}  // namespace

TT_DEFINE_TABLES(SoftmaxTable, softmax, bias_max, exp_sum, scale)

}  // namespace tt::kernels::TT_ISA
