#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/rows/row_loop.h>

#include <utility>

namespace tt {
namespace {

const Op kAdd("add"), kSubtract("subtract"), kMultiply("multiply"), kDivide("divide"), kScale("scale"), kShift("shift");

// How b is broadcast over a, whose matrix view is [m, n]: element (i, j) of a meets b[i * by_row + j * by_column].
struct Broadcast {
  int64_t m, n, by_row, by_column;
  int64_t at(int64_t i, int64_t j) const { return i * by_row + j * by_column; }
};

Broadcast broadcast_of(const Op& op, const Shape& a, const Shape& b) {
  const int64_t m = a.rows(), n = a.cols();
  if (a == b) return {m, n, n, 1};
  if (b.numel() == 1) return {m, n, 0, 0};
  if (b == Shape{n}) return {m, n, 0, 1};
  if (b == Shape{m, 1}) return {m, n, 1, 0};
  fail(op.name, "shapes differ: ", a, " and ", b);
}

// db[at(i, j)] += share(i, j), summed over what b was broadcast over.
template <class T, class Share>
void add_broadcast(Accumulator<T> db, const Broadcast& s, int64_t size, Arena& arena, Share share) {
  if (s.by_row > 0) {  // every row has elements of b of its own
    parallel_for(0, s.m, row_grain(s.n), [&](int64_t lo, int64_t hi) {
      T* to = db.rows(lo, hi) - lo * s.by_row;
      for (int64_t i = lo; i < hi; ++i)
        for (int64_t j = 0; j < s.n; ++j) to[s.at(i, j)] += share(i, j);
    });
    return;
  }
  sum_rows_into(db.all(), size, s.m, s.n, arena, [&](int64_t i, T* sum) {
    for (int64_t j = 0; j < s.n; ++j) sum[s.at(i, j)] += share(i, j);
  });
}

// y = f(a, b); da += dout * dfa(a, b), db += dout * dfb(a, b).
template <class T, class F, class DA, class DB>
Variable<T> binary(const Op& op, Variable<T> a, Variable<T> b, F f, DA dfa, DB dfb) {
  const Broadcast s = broadcast_of(op, a.shape(), b.shape());
  Tape<T>& tape = a.tape();
  const Tensor<T> av = a.value(), bv = b.value(), y = tape.make(a.shape());
  parallel_for(0, s.m, row_grain(s.n), [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i)
      for (int64_t j = 0; j < s.n; ++j) y[i * s.n + j] = f(av[i * s.n + j], bv[s.at(i, j)]);
  });
  return tape.record(op, y, {a, b}, [=](const Tensor<T>& dout) {
    if (const Accumulator<T> da = a.accumulator())
      parallel_for(0, s.m, row_grain(s.n), [&](int64_t lo, int64_t hi) {
        T* to = da.rows(lo, hi);
        for (int64_t i = lo; i < hi; ++i)
          for (int64_t j = 0, at = i * s.n; j < s.n; ++j, ++at) *to++ += dout[at] * dfa(av[at], bv[s.at(i, j)]);
      });
    if (const Accumulator<T> db = b.accumulator())
      add_broadcast(db, s, bv.numel(), b.tape().arena(),
                    [&](int64_t i, int64_t j) { return dout[i * s.n + j] * dfb(av[i * s.n + j], bv[s.at(i, j)]); });
  });
}

// Where the order of the operands does not matter, the smaller one is broadcast.
template <class T>
void larger_first(Variable<T>& a, Variable<T>& b) {
  if (b.numel() > a.numel()) std::swap(a, b);
}

}  // namespace

template <class T>
Variable<T> add(Variable<T> a, Variable<T> b) {
  larger_first(a, b);
  return binary(
      kAdd, a, b, [](T x, T y) { return x + y; }, [](T, T) { return T(1); }, [](T, T) { return T(1); });
}

template <class T>
Variable<T> subtract(Variable<T> a, Variable<T> b) {
  return binary(
      kSubtract, a, b, [](T x, T y) { return x - y; }, [](T, T) { return T(1); }, [](T, T) { return T(-1); });
}

template <class T>
Variable<T> multiply(Variable<T> a, Variable<T> b) {
  larger_first(a, b);
  return binary(
      kMultiply, a, b, [](T x, T y) { return x * y; }, [](T, T y) { return y; }, [](T x, T) { return x; });
}

template <class T>
Variable<T> divide(Variable<T> a, Variable<T> b) {
  return binary(
      kDivide, a, b, [](T x, T y) { return x / y; }, [](T, T y) { return 1 / y; },
      [](T x, T y) { return -x / (y * y); });
}

template <class T>
Variable<T> scale(Variable<T> x, std::type_identity_t<T> factor) {
  const Tensor<T> xv = x.value(), y = x.tape().make(x.shape());
  parallel_for(0, y.numel(), kElementGrain, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) y[i] = xv[i] * factor;
  });
  return x.tape().record(kScale, y, {x}, [=](const Tensor<T>& dout) {
    add_elements(x.accumulator(), [=](int64_t i) { return dout[i] * factor; });
  });
}

template <class T>
Variable<T> shift(Variable<T> x, std::type_identity_t<T> offset) {
  const Tensor<T> xv = x.value(), y = x.tape().make(x.shape());
  parallel_for(0, y.numel(), kElementGrain, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) y[i] = xv[i] + offset;
  });
  return x.tape().record_alias(kShift, y, x);
}

#define TT_INSTANTIATE(T)                                  \
  template Variable<T> add(Variable<T>, Variable<T>);      \
  template Variable<T> subtract(Variable<T>, Variable<T>); \
  template Variable<T> multiply(Variable<T>, Variable<T>); \
  template Variable<T> divide(Variable<T>, Variable<T>);   \
  template Variable<T> scale(Variable<T>, T);              \
  template Variable<T> shift(Variable<T>, T);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
