#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/autograd/ops/rows/row_loop.h>
#include <twotower/autograd/ops/rows/softmax.h>
#include <twotower/tensor/kernels/softmax/softmax.h>

#include <algorithm>
#include <cmath>

namespace tt {
namespace {

const Op kSoftmax("softmax_rows"), kLogSoftmax("log_softmax_rows");

}  // namespace

template <class T>
Variable<T> softmax_rows(Variable<T> x) {
  Tape<T>& tape = x.tape();
  const int64_t m = x.rows(), n = x.cols();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape());
  for_each_row(m, n, [&](int64_t i) {
    std::copy_n(xv.row(i), n, y.row(i));
    kernels::softmax(y.row(i), n);
  });
  return tape.record(kSoftmax, y, {x}, [=](const Tensor<T>& dout) {  // dx = y * (dout - <dout, y>)
    add_each_row(x.accumulator(), [&](int64_t i, T* dx) {
      const T *g = dout.row(i), *p = y.row(i), inner = dot(g, p, n);
      for (int64_t j = 0; j < n; ++j) dx[j] += p[j] * (g[j] - inner);
    });
  });
}

template <class T>
Variable<T> log_softmax_rows(Variable<T> x) {
  Tape<T>& tape = x.tape();
  const int64_t m = x.rows(), n = x.cols();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape());
  for_each_row(m, n, [&](int64_t i) {
    const T* from = xv.row(i);
    T* to = y.row(i);
    std::copy_n(from, n, to);
    const T log_sum = kernels::softmax(to, n);
    for (int64_t j = 0; j < n; ++j) to[j] = from[j] - log_sum;
  });
  return tape.record(kLogSoftmax, y, {x}, [=](const Tensor<T>& dout) {  // dx = dout - softmax(x) * sum(dout)
    add_each_row(x.accumulator(), [&](int64_t i, T* dx) {
      const T* g = dout.row(i);
      T total = 0;
      for (int64_t j = 0; j < n; ++j) total += g[j];
      for (int64_t j = 0; j < n; ++j) dx[j] += g[j] - std::exp(y.row(i)[j]) * total;
    });
  });
}

#define TT_INSTANTIATE(T)                         \
  template Variable<T> softmax_rows(Variable<T>); \
  template Variable<T> log_softmax_rows(Variable<T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
