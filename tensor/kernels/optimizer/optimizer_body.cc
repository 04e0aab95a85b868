#include <twotower/tensor/kernels/optimizer/optimizer_body.h>
#include <twotower/tensor/kernels/simd.h>

namespace tt::kernels::TT_ISA {
namespace {

constexpr int64_t kAhead = 6;  // rows fetched before their turn

TT_INLINE void prefetch_row(const float* row, int64_t dim) {
  for (int64_t j = 0; j < dim; j += 16) __builtin_prefetch(row + j, 1);
}

void adam(const StepScalars& s, float* p, float* m, float* v, const float* g, int64_t n) {
  TT_FOR_VECTORS (i, step, n) {
    const vf gi = load_step(g + i, step) * s.grad_scale;
    const vf mi = fma(load_step(m + i, step), broadcast(s.beta1), gi * s.one_minus_beta1);
    const vf vi_ = fma(load_step(v + i, step), broadcast(s.beta2), gi * gi * s.one_minus_beta2);
    const vf by = mi * s.rate / fma(sqrt(vi_), broadcast(s.root), broadcast(s.eps));
    store_step(m + i, mi, step);
    store_step(v + i, vi_, step);
    store_step(p + i, load_step(p + i, step) * s.keep - by, step);
  }
}

void adam_rows(const StepScalars& s, float* p, float* m, float* v, int64_t dim, const int64_t* ids, const float* g,
               int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (i + kAhead < n) {
      const int64_t next = ids[i + kAhead] * dim;
      prefetch_row(p + next, dim);
      prefetch_row(m + next, dim);
      prefetch_row(v + next, dim);
    }
    const int64_t at = ids[i] * dim;
    adam(s, p + at, m + at, v + at, g + i * dim, dim);
  }
}

void adagrad(const StepScalars& s, float* p, float* sum, const float* g, int64_t n) {
  TT_FOR_VECTORS (i, step, n) {
    const vf gi = load_step(g + i, step) * s.grad_scale;
    const vf si = fma(gi, gi, load_step(sum + i, step));
    store_step(sum + i, si, step);
    store_step(p + i, load_step(p + i, step) * s.keep - gi * s.rate / (sqrt(si) + s.eps), step);
  }
}

void adagrad_rows(const StepScalars& s, float* p, float* sum, int64_t dim, const int64_t* ids, const float* g,
                  int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (i + kAhead < n) {
      prefetch_row(p + ids[i + kAhead] * dim, dim);
      prefetch_row(sum + ids[i + kAhead] * dim, dim);
    }
    adagrad(s, p + ids[i] * dim, sum + ids[i] * dim, g + i * dim, dim);
  }
}

void rowwise_adagrad_rows(const StepScalars& s, float* p, float* sum, int64_t dim, const int64_t* ids, const float* g,
                          int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (i + kAhead < n) {
      prefetch_row(p + ids[i + kAhead] * dim, dim);
      __builtin_prefetch(sum + ids[i + kAhead], 1);
    }
    const float* gi = g + i * dim;
    float* pi = p + ids[i] * dim;
    vf squares = {};
    TT_FOR_VECTORS (j, step, dim) {
      const vf x = load_step(gi + j, step) * s.grad_scale;
      squares = fma(x, x, squares);
    }
    const float total = sum[ids[i]] + sum_lanes(squares) / static_cast<float>(dim);
    sum[ids[i]] = total;
    const float rate = s.rate * s.grad_scale / (__builtin_sqrtf(total) + s.eps);
    TT_FOR_VECTORS (j, step, dim)
      store_step(pi + j, load_step(pi + j, step) * s.keep - load_step(gi + j, step) * rate, step);
  }
}

}  // namespace

extern const OptimizerTable optimizer_table = {adam, adam_rows, adagrad, adagrad_rows, rowwise_adagrad_rows};

}  // namespace tt::kernels::TT_ISA
