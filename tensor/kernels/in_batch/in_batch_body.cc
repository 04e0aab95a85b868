#include <twotower/tensor/kernels/in_batch/in_batch_body.h>
#include <twotower/tensor/kernels/vmath/vmath_simd.h>

namespace tt::kernels::TT_ISA {
namespace {

template <class T>
constexpr T kMinusInf = -static_cast<T>(__builtin_inff());

template <class T>
struct Pair {
  vec<T> s, t;
};

template <class T>
TT_INLINE Pair<T> scores(const T* dot, const KlScores<T>& k, int64_t j, int64_t step) {
  const vec<T> nothing = broadcast(kMinusInf<T>), x = load_or(dot + j, step, kMinusInf<T>);
  const vec<T> s = x * k.inv_tau;
  vec<T> t = x * k.c;
  if (k.col_b != nullptr) t += load_step(k.col_b + j, step);
  return {select(x == nothing, nothing, s), select(x == nothing, nothing, t)};
}

template <class T>
void kl_max(const T* dot, const KlScores<T>& k, int64_t n, T* maximum) {
  vec<T> ms = broadcast(kMinusInf<T>), mt = ms;
  TT_FOR_VECTORS (j, step, n) {
    const Pair<T> x = scores(dot, k, j, step);
    ms = max(x.s, ms);
    mt = max(x.t, mt);
  }
  maximum[0] = max_lanes(ms);
  maximum[1] = max_lanes(mt);
}

template <class T>
void kl_sums(const T* dot, const KlScores<T>& k, int64_t n, const T* maximum, double* sums) {
  vec<T> s = {}, t = {};
  TT_FOR_VECTORS (j, step, n) {
    const Pair<T> x = scores(dot, k, j, step);
    s += exp(x.s - maximum[0]);
    t += exp(x.t - maximum[1]);
  }
  sums[0] += static_cast<double>(sum_lanes(s));
  sums[1] += static_cast<double>(sum_lanes(t));
}

template <class T>
T kl_grad(T* dot, const KlScores<T>& k, int64_t n, const T* log_sum) {
  vec<T> total = {};
  TT_FOR_VECTORS (j, step, n) {
    const Pair<T> x = scores(dot, k, j, step);
    const vec<T> log_p = x.s - log_sum[0], log_q = x.t - log_sum[1];
    const vec<T> p = exp(log_p), q = exp(log_q);
    total += select(q == vec<T>{}, vec<T>{}, q * (log_q - log_p));
    store_step(dot + j, p - q, step);
  }
  return sum_lanes(total);
}

}  // namespace

TT_DEFINE_TABLES(InBatchTable, in_batch, kl_max, kl_sums, kl_grad)

}  // namespace tt::kernels::TT_ISA
