#include <twotower/autograd/ops/elementwise.h>
#include <twotower/tensor/parallel.h>

#include <cmath>
#include <numbers>

namespace tt {
namespace {

constexpr int64_t kGrain = 32768;  // elements; less is not worth a second thread

// y = f(x); dx += dout * df(x, y).
template <class T, class F, class DF>
Variable<T> unary(const Op& op, Variable<T> x, F f, DF df) {
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape());
  parallel_for(0, y.numel(), kGrain, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) y[i] = f(xv[i]);
  });
  return tape.record(op, y, {x}, [=](const Tensor<T>& dout) {
    const auto [dx, accumulate] = x.grad_target();
    T* out = dx;
    const bool add = accumulate;
    parallel_for(0, y.numel(), kGrain, [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) out[i] = (add ? out[i] : T(0)) + dout[i] * df(xv[i], y[i]);
    });
  });
}

// y = f(a, b); da += dout * dfa(a, b), db += dout * dfb(a, b).
template <class T, class F, class DA, class DB>
Variable<T> binary(const Op& op, Variable<T> a, Variable<T> b, F f, DA dfa, DB dfb) {
  check(a.shape() == b.shape(), op.name, "shapes differ: ", a.shape(), " and ", b.shape());
  Tape<T>& tape = a.tape();
  const Tensor<T> av = a.value(), bv = b.value(), y = tape.make(a.shape());
  parallel_for(0, y.numel(), kGrain, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) y[i] = f(av[i], bv[i]);
  });
  return tape.record(op, y, {a, b}, [=](const Tensor<T>& dout) {
    const auto push = [&](Variable<T> input, auto df) {
      if (!input.requires_grad()) return;
      const GradTarget<T> target = input.grad_target();
      parallel_for(0, y.numel(), kGrain, [&](int64_t lo, int64_t hi) {
        for (int64_t i = lo; i < hi; ++i)
          target.data[i] = (target.add ? target.data[i] : T(0)) + dout[i] * df(av[i], bv[i]);
      });
    };
    push(a, dfa);
    push(b, dfb);
  });
}

const Op kAdd("add"), kSubtract("subtract"), kMultiply("multiply"), kDivide("divide"), kScale("scale"),
    kDivideBy("divide_by"), kSquare("square"), kRelu("relu"), kGelu("gelu"), kSigmoid("sigmoid"), kExp("exp"),
    kClampMin("clamp_min"), kDetach("detach", /*differentiable=*/false);

}  // namespace

template <class T>
Variable<T> add(Variable<T> a, Variable<T> b) {
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
Variable<T> scale(Variable<T> x, T factor) {
  return unary(
      kScale, x, [=](T v) { return v * factor; }, [=](T, T) { return factor; });
}

template <class T>
Variable<T> divide_by(Variable<T> x, Variable<T> s) {
  check(s.value().numel() == 1, kDivideBy.name, "the divisor has shape ", s.shape(), "; it must have one element");
  Tape<T>& tape = x.tape();
  const Tensor<T> y = tape.make(x.shape());
  const T divisor = s.item();
  for (int64_t i = 0; i < y.numel(); ++i) y[i] = x.value()[i] / divisor;
  return tape.record(kDivideBy, y, {x, s}, [=](const Tensor<T>& dout) {
    if (x.requires_grad()) {
      const GradTarget<T> dx = x.grad_target();
      for (int64_t i = 0; i < y.numel(); ++i) dx.data[i] = (dx.add ? dx.data[i] : T(0)) + dout[i] / divisor;
    }
    if (s.requires_grad()) {
      T sum = 0;  // d(x/s)/ds = -(x/s)/s
      for (int64_t i = 0; i < y.numel(); ++i) sum += dout[i] * y[i];
      s.grad_to_add()[0] -= sum / divisor;
    }
  });
}

template <class T>
Variable<T> square(Variable<T> x) {
  return unary(
      kSquare, x, [](T v) { return v * v; }, [](T v, T) { return 2 * v; });
}

template <class T>
Variable<T> relu(Variable<T> x) {
  return unary(
      kRelu, x, [](T v) { return v > 0 ? v : T(0); }, [](T v, T) { return v > 0 ? T(1) : T(0); });
}

template <class T>
Variable<T> gelu(Variable<T> x) {
  const auto cdf = [](T v) { return T(0.5) * std::erfc(-v * std::numbers::sqrt2_v<T> / 2); };
  return unary(
      kGelu, x, [=](T v) { return v * cdf(v); },
      [=](T v, T) {
        const T density = std::exp(-v * v / 2) * std::numbers::inv_sqrtpi_v<T> / std::numbers::sqrt2_v<T>;
        return cdf(v) + v * density;
      });
}

template <class T>
Variable<T> sigmoid(Variable<T> x) {
  return unary(
      kSigmoid, x, [](T v) { return 1 / (1 + std::exp(-v)); }, [](T, T y) { return y * (1 - y); });
}

template <class T>
Variable<T> exp(Variable<T> x) {
  return unary(
      kExp, x, [](T v) { return std::exp(v); }, [](T, T y) { return y; });
}

template <class T>
Variable<T> clamp_min(Variable<T> x, T floor) {
  return unary(
      kClampMin, x, [=](T v) { return v < floor ? floor : v; }, [=](T v, T) { return v >= floor ? T(1) : T(0); });
}

template <class T>
Variable<T> detach(Variable<T> x) {
  return x.tape().record(kDetach, x.value(), {x}, [](const Tensor<T>&) {});
}

#define TT_INSTANTIATE(T)                                   \
  template Variable<T> add(Variable<T>, Variable<T>);       \
  template Variable<T> subtract(Variable<T>, Variable<T>);  \
  template Variable<T> multiply(Variable<T>, Variable<T>);  \
  template Variable<T> divide(Variable<T>, Variable<T>);    \
  template Variable<T> scale(Variable<T>, T);               \
  template Variable<T> divide_by(Variable<T>, Variable<T>); \
  template Variable<T> square(Variable<T>);                 \
  template Variable<T> relu(Variable<T>);                   \
  template Variable<T> gelu(Variable<T>);                   \
  template Variable<T> sigmoid(Variable<T>);                \
  template Variable<T> exp(Variable<T>);                    \
  template Variable<T> clamp_min(Variable<T>, T);           \
  template Variable<T> detach(Variable<T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
