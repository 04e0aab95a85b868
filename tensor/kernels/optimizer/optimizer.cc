#include <twotower/tensor/kernels/optimizer/optimizer.h>
#include <twotower/tensor/kernels/optimizer/optimizer_body.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>
#include <cmath>

namespace tt::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // floats

StepScalars scalars(const AdamStep& a) {
  const double t = static_cast<double>(a.t), lr = a.lr, b1 = a.beta1, b2 = a.beta2;
  StepScalars s{};
  s.grad_scale = a.grad_scale, s.keep = static_cast<float>(1 - lr * a.weight_decay);
  s.beta1 = a.beta1, s.one_minus_beta1 = static_cast<float>(1 - b1);
  s.beta2 = a.beta2, s.one_minus_beta2 = static_cast<float>(1 - b2);
  s.rate = static_cast<float>(lr / (1 - std::pow(b1, t))), s.eps = a.eps;
  s.root = static_cast<float>(1 / std::sqrt(1 - std::pow(b2, t)));
  return s;
}

StepScalars scalars(const AdagradStep& a) {
  StepScalars s{};
  s.grad_scale = a.grad_scale, s.keep = static_cast<float>(1 - static_cast<double>(a.lr) * a.weight_decay);
  s.rate = a.lr, s.eps = a.eps;
  return s;
}

int64_t rows_grain(int64_t dim) { return std::max<int64_t>(16, kGrain / std::max<int64_t>(dim, 1)); }

}  // namespace

void adam(const AdamStep& step, float* p, float* m, float* v, const float* g, int64_t n) {
  const StepScalars s = scalars(step);
  const auto f = optimizer_body().adam;
  parallel_for(0, n, kGrain, [&](int64_t lo, int64_t hi) { f(s, p + lo, m + lo, v + lo, g + lo, hi - lo); });
}

void adam_rows(const AdamStep& step, float* p, float* m, float* v, int64_t dim, const int64_t* ids, const float* g,
               int64_t n) {
  const StepScalars s = scalars(step);
  const auto f = optimizer_body().adam_rows;
  parallel_for(0, n, rows_grain(dim),
               [&](int64_t lo, int64_t hi) { f(s, p, m, v, dim, ids + lo, g + lo * dim, hi - lo); });
}

void adagrad(const AdagradStep& step, float* p, float* sum, const float* g, int64_t n) {
  const StepScalars s = scalars(step);
  const auto f = optimizer_body().adagrad;
  parallel_for(0, n, kGrain, [&](int64_t lo, int64_t hi) { f(s, p + lo, sum + lo, g + lo, hi - lo); });
}

void adagrad_rows(const AdagradStep& step, float* p, float* sum, int64_t dim, const int64_t* ids, const float* g,
                  int64_t n) {
  const StepScalars s = scalars(step);
  const auto f = optimizer_body().adagrad_rows;
  parallel_for(0, n, rows_grain(dim),
               [&](int64_t lo, int64_t hi) { f(s, p, sum, dim, ids + lo, g + lo * dim, hi - lo); });
}

void rowwise_adagrad_rows(const AdagradStep& step, float* p, float* sum, int64_t dim, const int64_t* ids,
                          const float* g, int64_t n) {
  const StepScalars s = scalars(step);
  const auto f = optimizer_body().rowwise_adagrad_rows;
  parallel_for(0, n, rows_grain(dim),
               [&](int64_t lo, int64_t hi) { f(s, p, sum, dim, ids + lo, g + lo * dim, hi - lo); });
}

}  // namespace tt::kernels
