#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/autograd/ops/rows/row_loop.h>

namespace tt {
namespace {

const Op kSum("sum"), kMean("mean"), kSumAxis("sum_axis"), kMax("max"), kRowDot("row_dot");

constexpr int64_t kMostChunks = 32;

template <class T>
Variable<T> sum_times(const Op& op, Variable<T> x, T factor) {
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), y = tape.make({1});
  const int64_t n = xv.numel(), grain = std::max(kElementGrain, (n + kMostChunks - 1) / kMostChunks);
  T partial[kMostChunks] = {};  // chunks depend on n alone, and their sums are added in order
  parallel_for(0, n, grain, [&](int64_t lo, int64_t hi) {
    T total = 0;
    for (int64_t i = lo; i < hi; ++i) total += xv[i];
    partial[lo / grain] = total;
  });
  y[0] = 0;
  for (const T part : partial) y[0] += part;
  y[0] *= factor;
  return tape.record(op, y, {x}, [=](const Tensor<T>& dout) {
    const T share = dout[0] * factor;
    add_elements(x.accumulator(), [=](int64_t) { return share; });
  });
}

}  // namespace

template <class T>
Variable<T> sum(Variable<T> x) {
  return sum_times(kSum, x, T(1));
}

template <class T>
Variable<T> mean(Variable<T> x) {
  check(x.numel() > 0, kMean.name, "the mean of no elements is not defined");
  return sum_times(kMean, x, T(1) / static_cast<T>(x.numel()));
}

template <class T>
Variable<T> sum(Variable<T> x, int axis) {
  check(x.shape().rank() == 2 && (axis == 0 || axis == 1), kSumAxis.name, "axis ", axis, " of ", x.shape(),
        "; give axis 0 or 1 of a matrix");
  const int64_t m = x.rows(), n = x.cols();
  const Tensor<T> xv = x.value(), y = x.tape().make(axis == 0 ? Shape{n} : Shape{m, 1});
  if (axis == 0) {
    y.fill(T(0));
    sum_rows_into(y.data(), n, m, n, x.tape().arena(),
                  [&](int64_t i, T* total) { add_times(total, xv.data() + i * n, T(1), n); });
  } else {
    parallel_for(0, m, row_grain(n), [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) {
        y[i] = 0;
        for (int64_t j = 0; j < n; ++j) y[i] += xv[i * n + j];
      }
    });
  }
  return x.tape().record(kSumAxis, y, {x}, [=](const Tensor<T>& dout) {
    add_each_row(x.accumulator(), [&](int64_t i, T* dx) {
      for (int64_t j = 0; j < n; ++j) dx[j] += dout[axis == 0 ? j : i];
    });
  });
}

template <class T>
Variable<T> mean(Variable<T> x, int axis) {
  const Variable<T> total = sum(x, axis);
  const int64_t count = axis == 0 ? x.rows() : x.cols();
  check(count > 0, kMean.name, "the mean of no elements is not defined");
  return scale(total, T(1) / static_cast<T>(count));
}

template <class T>
Variable<T> max(Variable<T> x) {
  check(x.numel() > 0, kMax.name, "the maximum of no elements is not defined");
  Tape<T>& tape = x.tape();
  const Tensor<T> y = tape.make({1});
  y[0] = *std::max_element(x.value().begin(), x.value().end());
  return tape.record(kMax, y, {x}, [=](const Tensor<T>& dout) {
    const Tensor<T> xv = x.value();
    const auto ties = std::count(xv.begin(), xv.end(), y[0]);
    T* dx = x.accumulator().all();
    for (int64_t i = 0; i < xv.numel(); ++i)
      if (xv[i] == y[0]) dx[i] += dout[0] / static_cast<T>(ties);
  });
}

template <class T>
Variable<T> row_dot(Variable<T> a, Variable<T> b) {
  check(a.shape() == b.shape(), kRowDot.name, "shapes differ: ", a.shape(), " and ", b.shape());
  Tape<T>& tape = a.tape();
  const int64_t m = a.rows(), d = a.cols();
  const Tensor<T> av = a.value(), bv = b.value(), y = tape.make({m, 1});
  for_each_row(m, d, [&](int64_t i) { y[i] = dot(av.row(i), bv.row(i), d); });
  return tape.record(kRowDot, y, {a, b}, [=](const Tensor<T>& dout) {
    add_each_row(a.accumulator(), [&](int64_t i, T* da) { add_times(da, bv.row(i), dout[i], d); });
    add_each_row(b.accumulator(), [&](int64_t i, T* db) { add_times(db, av.row(i), dout[i], d); });
  });
}

#define TT_INSTANTIATE(T)                      \
  template Variable<T> sum(Variable<T>);       \
  template Variable<T> mean(Variable<T>);      \
  template Variable<T> sum(Variable<T>, int);  \
  template Variable<T> mean(Variable<T>, int); \
  template Variable<T> max(Variable<T>);       \
  template Variable<T> row_dot(Variable<T>, Variable<T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
