#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/autograd/ops/rows/row_loop.h>

namespace tt {
namespace {

const Op kReshape("reshape"), kTranspose("transpose"), kSliceRows("slice_rows"), kSliceColumns("slice_columns"),
    kConcatRows("concat_rows"), kConcatColumns("concat_columns");

}  // namespace

template <class T>
Variable<T> reshape(Variable<T> x, const Shape& shape) {
  check(shape.numel() == x.numel(), kReshape.name, x.shape(), " cannot become ", shape,
        ", which has another number of elements");
  return x.tape().record_alias(kReshape, Tensor<T>(x.value().data(), shape), x);
}

template <class T>
Variable<T> transpose(Variable<T> x) {
  check(x.shape().rank() == 2, kTranspose.name, "the input has shape ", x.shape(), "; it must be a matrix");
  const int64_t m = x.rows(), n = x.cols();
  const Tensor<T> xv = x.value(), y = x.tape().make({n, m});
  parallel_for(0, n, row_grain(m), [&](int64_t lo, int64_t hi) {
    for (int64_t j = lo; j < hi; ++j)
      for (int64_t i = 0; i < m; ++i) y[j * m + i] = xv[i * n + j];
  });
  return x.tape().record(kTranspose, y, {x}, [=](const Tensor<T>& dout) {
    add_each_row(x.accumulator(), [&](int64_t i, T* dx) {
      for (int64_t j = 0; j < n; ++j) dx[j] += dout[j * m + i];
    });
  });
}

template <class T>
Variable<T> slice_rows(Variable<T> x, int64_t begin, int64_t end) {
  const Shape& s = x.shape();
  check(s.rank() == 1 || s.rank() == 2, kSliceRows.name, "the input has shape ", s,
        "; it must be a matrix or a vector");
  const int64_t total = s[0], cols = s.rank() == 1 ? 1 : s[1];
  check(0 <= begin && begin <= end && end <= total, kSliceRows.name, "rows [", begin, ", ", end, ") of ", s);
  const Shape shape = s.rank() == 1 ? Shape{end - begin} : Shape{end - begin, cols};
  return x.tape().record_alias(kSliceRows, Tensor<T>(x.value().data() + begin * cols, shape), x, begin * cols);
}

template <class T>
Variable<T> slice_columns(Variable<T> x, int64_t begin, int64_t end) {
  check(0 <= begin && begin <= end && end <= x.cols(), kSliceColumns.name, "columns [", begin, ", ", end, ") of ",
        x.shape());
  Tape<T>& tape = x.tape();
  const int64_t m = x.rows(), n = end - begin;
  const Tensor<T> y = tape.make({m, n});
  for (int64_t i = 0; i < m; ++i) std::copy_n(x.value().row(i) + begin, n, y.row(i));
  return tape.record(kSliceColumns, y, {x}, [=](const Tensor<T>& dout) {
    T* dx = x.accumulator().all();
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) dx[i * x.cols() + begin + j] += dout[i * n + j];
  });
}

template <class T>
Variable<T> concat_rows(Variable<T> a, Variable<T> b) {
  check(a.shape().rank() == 2 && b.shape().rank() == 2 && a.cols() == b.cols(), kConcatRows.name,
        "widths differ: ", a.shape(), " and ", b.shape());
  Tape<T>& tape = a.tape();
  const Tensor<T> y = tape.make({a.rows() + b.rows(), a.cols()});
  const int64_t split = a.numel();
  std::copy(a.value().begin(), a.value().end(), y.data());
  std::copy(b.value().begin(), b.value().end(), y.data() + split);
  return tape.record(kConcatRows, y, {a, b}, [=](const Tensor<T>& dout) {
    add_elements(a.accumulator(), [=](int64_t i) { return dout[i]; });
    add_elements(b.accumulator(), [=](int64_t i) { return dout[split + i]; });
  });
}

template <class T>
Variable<T> concat_columns(std::initializer_list<Variable<T>> x) {
  constexpr int kMost = Node<T>::kMaxInputs;
  check(x.size() >= 1 && x.size() <= kMost, kConcatColumns.name, x.size(), " parts; 1 to ", kMost, " are supported");
  const Variable<T> first = *x.begin();
  const int64_t m = first.rows();
  int64_t n = 0;
  for (const auto& part : x) {
    check(part.rows() == m, kConcatColumns.name, "row counts differ: ", first.shape(), " and ", part.shape());
    n += part.cols();
  }
  Tape<T>& tape = first.tape();
  const Tensor<T> y = tape.make({m, n});
  struct Parts {
    Variable<T> x[kMost];
    int count = 0;
  } parts;
  int64_t at = 0;
  for (const auto& part : x) {
    for (int64_t i = 0; i < m; ++i) std::copy_n(part.value().row(i), part.cols(), y.row(i) + at);
    at += part.cols();
    parts.x[parts.count++] = part;
  }
  return tape.record(kConcatColumns, y, x, [=](const Tensor<T>& dout) {
    int64_t column = 0;
    for (int p = 0; p < parts.count; ++p) {
      const int64_t width = parts.x[p].cols();
      add_each_row(parts.x[p].accumulator(),
                   [&](int64_t i, T* dx) { add_times(dx, dout.row(i) + column, T(1), width); });
      column += width;
    }
  });
}

#define TT_INSTANTIATE(T)                                            \
  template Variable<T> reshape(Variable<T>, const Shape&);           \
  template Variable<T> transpose(Variable<T>);                       \
  template Variable<T> slice_rows(Variable<T>, int64_t, int64_t);    \
  template Variable<T> slice_columns(Variable<T>, int64_t, int64_t); \
  template Variable<T> concat_rows(Variable<T>, Variable<T>);        \
  template Variable<T> concat_columns(std::initializer_list<Variable<T>>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
