#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/autograd/ops/rows/normalize.h>
#include <twotower/autograd/ops/rows/row_loop.h>

#include <cmath>

namespace tt {
namespace {

const Op kL2Normalize("l2_normalize"), kLayerNorm("layer_norm");

}  // namespace

template <class T>
Variable<T> l2_normalize(Variable<T> x) {
  Tape<T>& tape = x.tape();
  const int64_t m = x.rows(), n = x.cols();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape()), inverse = tape.make({m});
  for_each_row(m, n, [&](int64_t i) {
    inverse[i] = 1 / std::max(std::sqrt(dot(xv.row(i), xv.row(i), n)), T(1e-12));
    for (int64_t j = 0; j < n; ++j) y.row(i)[j] = xv.row(i)[j] * inverse[i];
  });
  return tape.record(kL2Normalize, y, {x}, [=](const Tensor<T>& dout) {  // dx = (dout - y <dout, y>) / |x|
    add_each_row(x.accumulator(), [&](int64_t i, T* dx) {
      const T *g = dout.row(i), *u = y.row(i), inner = dot(g, u, n);
      for (int64_t j = 0; j < n; ++j) dx[j] += (g[j] - u[j] * inner) * inverse[i];
    });
  });
}

template <class T>
Variable<T> layer_norm(Variable<T> x, Variable<T> gain, Variable<T> bias) {
  const int64_t m = x.rows(), n = x.cols();
  check(gain && bias && gain.numel() == n && bias.numel() == n, kLayerNorm.name, "gain and bias must have ", n,
        " elements");
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape()), hat = tape.make(x.shape()), inverse = tape.make({m});
  const Tensor<T> g = gain.value(), b = bias.value();
  for_each_row(m, n, [&](int64_t i) {
    const T* from = xv.row(i);
    T average = 0, variance = 0;
    for (int64_t j = 0; j < n; ++j) average += from[j];
    average /= static_cast<T>(n);
    for (int64_t j = 0; j < n; ++j) variance += (from[j] - average) * (from[j] - average);
    inverse[i] = 1 / std::sqrt(variance / static_cast<T>(n) + T(1e-5));
    for (int64_t j = 0; j < n; ++j) {
      hat.row(i)[j] = (from[j] - average) * inverse[i];
      y.row(i)[j] = hat.row(i)[j] * g[j] + b[j];
    }
  });
  return tape.record(kLayerNorm, y, {x, gain, bias}, [=](const Tensor<T>& dout) {
    Arena& arena = x.tape().arena();
    if (const Accumulator<T> dgain = gain.accumulator())
      sum_rows_into(dgain.all(), n, m, n, arena, [&](int64_t i, T* total) {
        for (int64_t j = 0; j < n; ++j) total[j] += dout.row(i)[j] * hat.row(i)[j];
      });
    if (const Accumulator<T> dbias = bias.accumulator())
      sum_rows_into(dbias.all(), n, m, n, arena, [&](int64_t i, T* total) { add_times(total, dout.row(i), T(1), n); });
    // with h = dout * gain: dx = (h - mean(h) - hat * mean(h * hat)) / sigma
    add_each_row(x.accumulator(), [&](int64_t i, T* dx) {
      T mean_h = 0, mean_h_hat = 0;
      for (int64_t j = 0; j < n; ++j) {
        const T h = dout.row(i)[j] * g[j];
        mean_h += h, mean_h_hat += h * hat.row(i)[j];
      }
      mean_h /= static_cast<T>(n), mean_h_hat /= static_cast<T>(n);
      for (int64_t j = 0; j < n; ++j)
        dx[j] += (dout.row(i)[j] * g[j] - mean_h - hat.row(i)[j] * mean_h_hat) * inverse[i];
    });
  });
}

#define TT_INSTANTIATE(T)                         \
  template Variable<T> l2_normalize(Variable<T>); \
  template Variable<T> layer_norm(Variable<T>, Variable<T>, Variable<T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
