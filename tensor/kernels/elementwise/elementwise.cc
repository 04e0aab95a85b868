#include <twotower/tensor/kernels/elementwise/elementwise.h>
#include <twotower/tensor/kernels/elementwise/elementwise_body.h>
#include <twotower/tensor/parallel.h>

namespace tt::kernels {
namespace {

constexpr int64_t kGrain = 32768;   // floats: below two of these a second thread does not pay
constexpr int64_t kRowChunks = 64;  // most partial results of a reduction

template <class F>
void chunks(int64_t n, F&& f) {
  parallel_for(0, n, kGrain, f);
}

void binary(ElementwiseTable::Binary f, const float* a, const float* b, float* y, int64_t n) {
  chunks(n, [=](int64_t lo, int64_t hi) { f(a + lo, b + lo, y + lo, hi - lo); });
}

// Chunks depend on n only, and their sums are added in order.
template <class F>
double reduce(int64_t n, F&& f) {
  const int64_t grain = (n + kRowChunks - 1) / kRowChunks > kGrain ? (n + kRowChunks - 1) / kRowChunks : kGrain;
  double partial[kRowChunks] = {};
  parallel_for(0, n, grain, [&](int64_t lo, int64_t hi) { partial[lo / grain] = f(lo, hi); });
  double total = 0;
  for (const double p : partial) total += p;
  return total;
}

}  // namespace

void add(const float* a, const float* b, float* y, int64_t n) { binary(elementwise_body().add, a, b, y, n); }
void mul(const float* a, const float* b, float* y, int64_t n) { binary(elementwise_body().mul, a, b, y, n); }
void mul_add_to(float* y, const float* a, const float* b, int64_t n) { binary(elementwise_body().mul_add, a, b, y, n); }
void add_to(float* y, const float* x, int64_t n) { binary(elementwise_body().add, y, x, y, n); }

void axpy(float* y, float alpha, const float* x, int64_t n) {
  const auto f = elementwise_body().axpy;
  chunks(n, [=](int64_t lo, int64_t hi) { f(y + lo, alpha, x + lo, hi - lo); });
}

void scale_to(float* y, float alpha, const float* x, int64_t n) {
  const auto f = elementwise_body().scale;
  chunks(n, [=](int64_t lo, int64_t hi) { f(y + lo, alpha, x + lo, hi - lo); });
}

void relu(const float* x, float* y, int64_t n) {
  const auto f = elementwise_body().relu;
  chunks(n, [=](int64_t lo, int64_t hi) { f(x + lo, y + lo, hi - lo); });
}

void relu_backward(float* dx, const float* dy, const float* y, int64_t n) {
  binary(elementwise_body().relu_backward, dy, y, dx, n);
}
void relu_backward_to(float* dx, const float* dy, const float* y, int64_t n) {
  binary(elementwise_body().relu_backward_add, dy, y, dx, n);
}

double dot(const float* a, const float* b, int64_t n) {
  const auto f = elementwise_body().dot;
  return reduce(n, [=](int64_t lo, int64_t hi) { return f(a + lo, b + lo, hi - lo); });
}

double sum(const float* x, int64_t n) {
  const auto f = elementwise_body().sum;
  return reduce(n, [=](int64_t lo, int64_t hi) { return f(x + lo, hi - lo); });
}

void add_bias_rows(float* y, const float* bias, int64_t rows, int64_t cols) {
  if (cols <= 0) return;
  const auto f = elementwise_body().add_bias;
  parallel_for(0, rows, kGrain / cols, [=](int64_t lo, int64_t hi) { f(y + lo * cols, bias, hi - lo, cols); });
}

void column_sums_to(float* db, const float* dy, int64_t rows, int64_t cols) {
  if (cols <= 0 || rows <= 0) return;
  const auto f = elementwise_body().column_sums;
  int64_t grain = kGrain / cols;
  if (grain < 64) grain = 64;  // a partial row should be cheap beside its chunk
  if (grain < (rows + kRowChunks - 1) / kRowChunks) grain = (rows + kRowChunks - 1) / kRowChunks;
  if (rows <= grain) return f(db, dy, cols, rows, cols, true);
  const int64_t parts = (rows + grain - 1) / grain;
  auto* partial = static_cast<float*>(thread_scratch(0, static_cast<std::size_t>(parts * cols) * sizeof(float)));
  parallel_for(0, rows, grain, [=](int64_t lo, int64_t hi) {
    f(partial + lo / grain * cols, dy + lo * cols, cols, hi - lo, cols, false);
  });
  f(db, partial, cols, parts, cols, true);
}

}  // namespace tt::kernels
