#include <twotower/tensor/kernels/optimizer/optimizer.h>
#include <twotower/tensor/kernels/optimizer/optimizer_body.h>
#include <twotower/tensor/kernels/simd.h>

namespace tt::kernels::TT_ISA {
namespace {

constexpr int64_t kAhead = 6;  // rows fetched before their turn

template <class T>
TT_INLINE void prefetch_row(const T* row, int64_t dim) {
  for (int64_t j = 0; j < dim; j += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(row + j, 1);
}

// x, or 0 where it is smaller than `least`; NaN stays.
template <class T>
TT_INLINE vec<T> flush(vec<T> x, double least) {
  return select(abs(x) < broadcast(static_cast<T>(least)), vec<T>{}, x);
}

template <class T>
void adam(const StepScalars<T>& s, T* p, T* m, T* v, const T* g, int64_t n) {
  TT_FOR_VECTORS (i, step, n) {
    const vec<T> gi = load_step(g + i, step) * s.grad_scale;
    const vec<T> mi = flush<T>(fma(load_step(m + i, step), broadcast(s.beta1), gi * s.one_minus_beta1), kLeastMoment);
    const vec<T> vi_ =
        flush<T>(fma(load_step(v + i, step), broadcast(s.beta2), gi * gi * s.one_minus_beta2), kLeastSquare);
    const vec<T> by = mi * s.rate / fma(sqrt(vi_), broadcast(s.root), broadcast(s.eps));
    store_step(m + i, mi, step);
    store_step(v + i, vi_, step);
    store_step(p + i, load_step(p + i, step) * s.keep - by, step);
  }
}

template <class T>
void adam_rows(const StepScalars<T>& s, T* p, T* m, T* v, int64_t dim, const int64_t* ids, const T* g, int64_t n) {
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

template <class T>
void adagrad(const StepScalars<T>& s, T* p, T* sum, const T* g, int64_t n) {
  TT_FOR_VECTORS (i, step, n) {
    const vec<T> gi = load_step(g + i, step) * s.grad_scale;
    const vec<T> si = fma(gi, gi, load_step(sum + i, step));
    store_step(sum + i, si, step);
    store_step(p + i, load_step(p + i, step) * s.keep - gi * s.rate / (sqrt(si) + s.eps), step);
  }
}

template <class T>
void sgd(const StepScalars<T>& s, T* p, T* momentum, const T* g, int64_t n) {
  TT_FOR_VECTORS (i, step, n) {
    vec<T> by = load_step(g + i, step) * s.grad_scale;
    if (momentum != nullptr) {
      by = flush<T>(fma(load_step(momentum + i, step), broadcast(s.beta1), by), kLeastMoment);
      store_step(momentum + i, by, step);
    }
    store_step(p + i, load_step(p + i, step) * s.keep - by * s.rate, step);
  }
}

// Rows ids[0 .. n) of p and its one state, which may be null.
template <class T, class Step>
TT_INLINE void each_row(Step step, const StepScalars<T>& s, T* p, T* state, int64_t dim, const int64_t* ids, const T* g,
                        int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (i + kAhead < n) {
      prefetch_row(p + ids[i + kAhead] * dim, dim);
      if (state != nullptr) prefetch_row(state + ids[i + kAhead] * dim, dim);
    }
    step(s, p + ids[i] * dim, state == nullptr ? nullptr : state + ids[i] * dim, g + i * dim, dim);
  }
}

template <class T>
void adagrad_rows(const StepScalars<T>& s, T* p, T* sum, int64_t dim, const int64_t* ids, const T* g, int64_t n) {
  each_row(adagrad<T>, s, p, sum, dim, ids, g, n);
}

template <class T>
void sgd_rows(const StepScalars<T>& s, T* p, T* momentum, int64_t dim, const int64_t* ids, const T* g, int64_t n) {
  each_row(sgd<T>, s, p, momentum, dim, ids, g, n);
}

}  // namespace

TT_DEFINE_TABLES(OptimizerTable, optimizer, adam, adam_rows, adagrad, adagrad_rows, sgd, sgd_rows)

}  // namespace tt::kernels::TT_ISA
