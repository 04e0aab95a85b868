#include <twotower/tensor/kernels/elementwise/elementwise.h>
#include <twotower/tensor/kernels/elementwise/elementwise_body.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>

namespace tt::kernels {
namespace {

constexpr int64_t kGrain = 32768;   // numbers: below two of these a second thread does not pay
constexpr int64_t kRowChunks = 64;  // most partial results of a reduction

}  // namespace

template <class T>
void add_to(T* y, const T* x, int64_t n) {
  const auto f = elementwise_body<T>().add_to;
  parallel_for(0, n, kGrain, [=](int64_t lo, int64_t hi) { f(y + lo, x + lo, hi - lo); });
}

template <class T>
void relu_backward(T* dx, const T* dy, const T* y, int64_t n) {
  const auto f = elementwise_body<T>().relu_backward;
  parallel_for(0, n, kGrain, [=](int64_t lo, int64_t hi) { f(dx + lo, dy + lo, y + lo, hi - lo); });
}

template <class T>
void add_bias_rows(T* y, const T* bias, int64_t rows, int64_t cols) {
  if (cols <= 0) return;
  const auto f = elementwise_body<T>().add_bias;
  parallel_for(0, rows, kGrain / cols, [=](int64_t lo, int64_t hi) { f(y + lo * cols, bias, hi - lo, cols); });
}

// Chunks depend on the sizes only, and their sums are added in order.
template <class T>
void column_sums_to(T* db, const T* dy, int64_t rows, int64_t cols) {
  if (cols <= 0 || rows <= 0) return;
  const auto f = elementwise_body<T>().column_sums;
  // At least 64: a partial row should be cheap beside its chunk.
  const int64_t grain = std::max<int64_t>({kGrain / cols, 64, (rows + kRowChunks - 1) / kRowChunks});
  if (rows <= grain) return f(db, dy, cols, rows, cols, true);
  const int64_t parts = (rows + grain - 1) / grain;
  auto* partial = static_cast<T*>(thread_scratch(0, static_cast<std::size_t>(parts * cols) * sizeof(T)));
  parallel_for(0, rows, grain, [=](int64_t lo, int64_t hi) {
    f(partial + lo / grain * cols, dy + lo * cols, cols, hi - lo, cols, false);
  });
  f(db, partial, cols, parts, cols, true);
}

#define TT_INSTANTIATE(T)                                       \
  template void add_to(T*, const T*, int64_t);                  \
  template void relu_backward(T*, const T*, const T*, int64_t); \
  template void add_bias_rows(T*, const T*, int64_t, int64_t);  \
  template void column_sums_to(T*, const T*, int64_t, int64_t);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt::kernels
