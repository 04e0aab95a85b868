#include <twotower/tensor/kernels/optimizer/optimizer.h>
#include <twotower/tensor/kernels/optimizer/optimizer_body.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <cmath>

namespace tt::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // numbers

template <class T>
StepScalars<T> scalars(double lr, double weight_decay, double grad_scale) {
  StepScalars<T> s{};
  s.grad_scale = static_cast<T>(grad_scale), s.keep = static_cast<T>(1 - lr * weight_decay);
  s.rate = static_cast<T>(lr);
  return s;
}

template <class T>
StepScalars<T> scalars(const AdamStep& a) {
  const auto t = static_cast<double>(a.t);
  StepScalars<T> s = scalars<T>(a.lr, a.weight_decay, a.grad_scale);
  s.beta1 = static_cast<T>(a.beta1), s.one_minus_beta1 = static_cast<T>(1 - a.beta1);
  s.beta2 = static_cast<T>(a.beta2), s.one_minus_beta2 = static_cast<T>(1 - a.beta2);
  s.rate = static_cast<T>(a.lr / (1 - std::pow(a.beta1, t))), s.eps = static_cast<T>(a.eps);
  s.root = static_cast<T>(1 / std::sqrt(1 - std::pow(a.beta2, t)));
  return s;
}

template <class T>
StepScalars<T> scalars(const AdagradStep& a) {
  StepScalars<T> s = scalars<T>(a.lr, a.weight_decay, a.grad_scale);
  s.eps = static_cast<T>(a.eps);
  return s;
}

template <class T>
StepScalars<T> scalars(const SgdStep& a) {
  StepScalars<T> s = scalars<T>(a.lr, a.weight_decay, a.grad_scale);
  s.beta1 = static_cast<T>(a.momentum);
  return s;
}

// Steps with one state, which may be null.
template <class T, class F>
void all(F f, const StepScalars<T>& s, T* p, T* state, const T* g, int64_t n) {
  parallel_for(0, n, kGrain,
               [&](int64_t lo, int64_t hi) { f(s, p + lo, state == nullptr ? nullptr : state + lo, g + lo, hi - lo); });
}

template <class F>
void each_rows(int64_t dim, int64_t n, F&& f) {
  parallel_for(0, n, std::max<int64_t>(16, kGrain / std::max<int64_t>(dim, 1)), f);
}

}  // namespace

template <class T>
void adam(const AdamStep& step, T* p, T* m, T* v, const T* g, int64_t n) {
  const StepScalars<T> s = scalars<T>(step);
  const auto f = optimizer_body<T>().adam;
  parallel_for(0, n, kGrain, [&](int64_t lo, int64_t hi) { f(s, p + lo, m + lo, v + lo, g + lo, hi - lo); });
}

template <class T>
void adam_rows(const AdamStep& step, T* p, T* m, T* v, int64_t dim, const int64_t* ids, const T* g, int64_t n) {
  const StepScalars<T> s = scalars<T>(step);
  const auto f = optimizer_body<T>().adam_rows;
  each_rows(dim, n, [&](int64_t lo, int64_t hi) { f(s, p, m, v, dim, ids + lo, g + lo * dim, hi - lo); });
}

template <class T>
void adagrad(const AdagradStep& step, T* p, T* s, const T* g, int64_t n) {
  all(optimizer_body<T>().adagrad, scalars<T>(step), p, s, g, n);
}

template <class T>
void adagrad_rows(const AdagradStep& step, T* p, T* s, int64_t dim, const int64_t* ids, const T* g, int64_t n) {
  const StepScalars<T> x = scalars<T>(step);
  const auto f = optimizer_body<T>().adagrad_rows;
  each_rows(dim, n, [&](int64_t lo, int64_t hi) { f(x, p, s, dim, ids + lo, g + lo * dim, hi - lo); });
}

template <class T>
void sgd(const SgdStep& step, T* p, T* m, const T* g, int64_t n) {
  all(optimizer_body<T>().sgd, scalars<T>(step), p, m, g, n);
}

template <class T>
void sgd_rows(const SgdStep& step, T* p, T* m, int64_t dim, const int64_t* ids, const T* g, int64_t n) {
  const StepScalars<T> x = scalars<T>(step);
  const auto f = optimizer_body<T>().sgd_rows;
  each_rows(dim, n, [&](int64_t lo, int64_t hi) { f(x, p, m, dim, ids + lo, g + lo * dim, hi - lo); });
}

#define TT_INSTANTIATE(T)                                                                             \
  template void adam(const AdamStep&, T*, T*, T*, const T*, int64_t);                                 \
  template void adam_rows(const AdamStep&, T*, T*, T*, int64_t, const int64_t*, const T*, int64_t);   \
  template void adagrad(const AdagradStep&, T*, T*, const T*, int64_t);                               \
  template void adagrad_rows(const AdagradStep&, T*, T*, int64_t, const int64_t*, const T*, int64_t); \
  template void sgd(const SgdStep&, T*, T*, const T*, int64_t);                                       \
  template void sgd_rows(const SgdStep&, T*, T*, int64_t, const int64_t*, const T*, int64_t);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt::kernels
