#include <twotower/tensor/kernels/in_batch/in_batch_body.h>
#include <twotower/tensor/kernels/vmath/vmath_simd.h>

namespace tt::kernels::TT_ISA {
namespace {

const float kInf = __builtin_inff();

// Short last steps read fill instead of memory.
TT_INLINE vf load_or(const float* p, int64_t step, float fill) {
  if (step == W) return load(p);
  alignas(64) float lanes[W];
  for (int i = 0; i < W; ++i) lanes[i] = i < step ? p[i] : fill;
  return load(lanes);
}

float bias_max(float* x, const float* bias, int64_t n) {
  vf m = broadcast(-kInf);
  if (bias == nullptr) {
    TT_FOR_VECTORS (j, step, n) m = max(load_or(x + j, step, -kInf), m);
  } else {
    TT_FOR_VECTORS (j, step, n) {
      const vf s = load_or(x + j, step, -kInf) + load_step(bias + j, step);
      store_step(x + j, s, step);
      m = max(s, m);
    }
  }
  return max_lanes(m);
}

float exp_sum(float* x, float maximum, int64_t n) {
  vf total = {};
  const vf m = broadcast(maximum);
  int64_t j = 0;
  for (; j + 2 * W <= n; j += 2 * W) {
    const vf a = exp(load(x + j) - m), b = exp(load(x + j + W) - m);
    store(x + j, a);
    store(x + j + W, b);
    total += a + b;
  }
  for (; j < n; j += W) {
    const int64_t step = n - j < W ? n - j : W;
    const vf e = exp(load_or(x + j, step, -kInf) - m);
    store_step(x + j, e, step);
    total += e;
  }
  return sum_lanes(total);
}

struct Pair {
  vf s, t;
};

TT_INLINE Pair scores(const float* dot, const KlScores& k, int64_t j, int64_t step) {
  const vf x = load_or(dot + j, step, -kInf);
  vf s = x * k.inv_tau, t = x * k.c;
  if (k.col_bias != nullptr) s += load_step(k.col_bias + j, step);
  if (k.col_b != nullptr) t += load_step(k.col_b + j, step);
  const vi left_out = x == -kInf;
  return {select(left_out, broadcast(-kInf), s), select(left_out, broadcast(-kInf), t)};
}

void kl_max(const float* dot, const KlScores& k, int64_t n, float* maximum) {
  vf ms = broadcast(-kInf), mt = ms;
  TT_FOR_VECTORS (j, step, n) {
    const Pair x = scores(dot, k, j, step);
    ms = max(x.s, ms);
    mt = max(x.t, mt);
  }
  maximum[0] = max_lanes(ms);
  maximum[1] = max_lanes(mt);
}

void kl_sums(const float* dot, const KlScores& k, int64_t n, const float* maximum, double* sums) {
  vf s = {}, t = {};
  TT_FOR_VECTORS (j, step, n) {
    const Pair x = scores(dot, k, j, step);
    s += exp(x.s - maximum[0]);
    t += exp(x.t - maximum[1]);
  }
  sums[0] += static_cast<double>(sum_lanes(s));
  sums[1] += static_cast<double>(sum_lanes(t));
}

float kl_grad(float* dot, const KlScores& k, int64_t n, const float* log_sum) {
  vf total = {};
  TT_FOR_VECTORS (j, step, n) {
    const Pair x = scores(dot, k, j, step);
    const vf log_p = x.s - log_sum[0], log_q = x.t - log_sum[1];
    const vf p = exp(log_p), q = exp(log_q);
    total += select(q == 0.0f, vf{}, q * (log_q - log_p));
    store_step(dot + j, p - q, step);
  }
  return sum_lanes(total);
}

}  // namespace

extern const InBatchTable in_batch_table = {bias_max, exp_sum, kl_max, kl_sums, kl_grad};

}  // namespace tt::kernels::TT_ISA
