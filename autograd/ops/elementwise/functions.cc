#include <twotower/autograd/ops/elementwise/elements.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/tensor/kernels/vmath/vmath.h>

#include <cmath>
#include <type_traits>

namespace tt {
namespace {

// y = f(x); dx += dout * df(x, y), where df may be a kernel over arrays: x -> slopes.
template <class T, class F, class DF>
Variable<T> unary(const Op& op, Variable<T> x, F f, DF df) {
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape());
  if constexpr (std::is_invocable_v<F, const T*, T*, int64_t>)  // a kernel over arrays
    f(xv.data(), y.data(), y.numel());
  else
    parallel_for(0, y.numel(), kElementGrain, [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) y[i] = f(xv[i]);
    });
  return tape.record(op, y, {x}, [=](const Tensor<T>& dout) {
    if constexpr (std::is_invocable_v<DF, const T*, T*, int64_t>) {
      const Tensor<T> slope = x.tape().make(x.shape());
      df(xv.data(), slope.data(), slope.numel());
      add_elements(x.accumulator(), [&](int64_t i) { return dout[i] * slope[i]; });
    } else {
      add_elements(x.accumulator(), [&](int64_t i) { return dout[i] * df(xv[i], y[i]); });
    }
  });
}

const Op kSquare("square"), kSqrt("sqrt"), kExp("exp"), kLog("log"), kTanh("tanh"), kSigmoid("sigmoid"),
    kSoftplus("softplus"), kRelu("relu"), kGelu("gelu"), kClampMin("clamp_min"), kDropout("dropout"),
    kDetach("detach", /*differentiable=*/false);

}  // namespace

template <class T>
Variable<T> square(Variable<T> x) {
  return unary(
      kSquare, x, [](T v) { return v * v; }, [](T v, T) { return 2 * v; });
}

template <class T>
Variable<T> sqrt(Variable<T> x) {
  return unary(
      kSqrt, x, [](T v) { return std::sqrt(v); }, [](T, T y) { return T(0.5) / y; });
}

template <class T>
Variable<T> exp(Variable<T> x) {
  return unary(kExp, x, kernels::vexp<T>, [](T, T y) { return y; });
}

template <class T>
Variable<T> log(Variable<T> x) {
  return unary(kLog, x, kernels::vlog<T>, [](T v, T) { return 1 / v; });
}

template <class T>
Variable<T> tanh(Variable<T> x) {
  return unary(kTanh, x, kernels::vtanh<T>, [](T, T y) { return 1 - y * y; });
}

template <class T>
Variable<T> sigmoid(Variable<T> x) {
  return unary(kSigmoid, x, kernels::vsigmoid<T>, [](T, T y) { return y * (1 - y); });
}

template <class T>
Variable<T> softplus(Variable<T> x) {
  return unary(kSoftplus, x, kernels::vsoftplus<T>, [](T v, T) { return 1 / (1 + std::exp(-v)); });
}

template <class T>
Variable<T> relu(Variable<T> x) {
  return unary(
      kRelu, x, [](T v) { return v < 0 ? T(0) : v; }, [](T v, T) { return v <= 0 ? T(0) : T(1); });
}

template <class T>
Variable<T> gelu(Variable<T> x) {
  return unary(kGelu, x, kernels::vgelu<T>, kernels::vgelu_slope<T>);
}

template <class T>
Variable<T> clamp_min(Variable<T> x, std::type_identity_t<T> floor) {
  return unary(
      kClampMin, x, [=](T v) { return v < floor ? floor : v; }, [=](T v, T) { return v >= floor ? T(1) : T(0); });
}

template <class T>
Variable<T> dropout(Variable<T> x, double probability, const Philox& random, uint64_t first) {
  check(probability >= 0 && probability < 1, kDropout.name, "the probability is ", probability,
        "; it must be at least 0 and less than 1");
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), factor = tape.make(x.shape()), y = tape.make(x.shape());
  const auto least = static_cast<uint32_t>(probability * 4294967296.0);
  const T kept = static_cast<T>(1 / (1 - probability));
  parallel_for(0, y.numel(), kElementGrain, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) {
      factor[i] = random.bits(first + static_cast<uint64_t>(i)) < least ? T(0) : kept;
      y[i] = xv[i] * factor[i];
    }
  });
  return tape.record(kDropout, y, {x}, [=](const Tensor<T>& dout) {
    add_elements(x.accumulator(), [&](int64_t i) { return dout[i] * factor[i]; });
  });
}

template <class T>
Variable<T> detach(Variable<T> x) {
  return x.tape().record(kDetach, x.value(), {x}, [](const Tensor<T>&) {});
}

#define TT_INSTANTIATE(T)                                                     \
  template Variable<T> square(Variable<T>);                                   \
  template Variable<T> sqrt(Variable<T>);                                     \
  template Variable<T> exp(Variable<T>);                                      \
  template Variable<T> log(Variable<T>);                                      \
  template Variable<T> tanh(Variable<T>);                                     \
  template Variable<T> sigmoid(Variable<T>);                                  \
  template Variable<T> softplus(Variable<T>);                                 \
  template Variable<T> relu(Variable<T>);                                     \
  template Variable<T> gelu(Variable<T>);                                     \
  template Variable<T> clamp_min(Variable<T>, T);                             \
  template Variable<T> dropout(Variable<T>, double, const Philox&, uint64_t); \
  template Variable<T> detach(Variable<T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
