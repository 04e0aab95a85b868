// An op of one's own, whole: the Huber loss, its gradient, and the check that the two belong together.

#include <twotower/autograd/gradcheck.h>
#include <twotower/autograd/ops/elementwise/elements.h>
#include <twotower/layers/parameter_set.h>
#include <twotower/tensor/random.h>

#include <cmath>
#include <cstdio>

namespace {

using namespace tt;

const Op kHuber("huber");  // its name on the tape, in errors and in graphs

// Huber's loss (Huber 1964) of each element, quadratic near the target and linear far from it, with e = x - target:
//   y = e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2)      dy/dx = max(-delta, min(e, delta))
template <class T>
Variable<T> huber(Variable<T> x, Tensor<const T> target, T delta) {
  // What a caller can get wrong: where, what was found and what was expected.
  check(target.shape() == x.shape(), kHuber.name, "the targets have shape ", target.shape(), ", the input ", x.shape());
  check(delta > 0, kHuber.name, "delta is ", delta, "; it must be positive");

  // The value, at once. Its memory is the step's.
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape());
  parallel_for(0, y.numel(), kElementGrain, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) {
      const T e = std::abs(xv[i] - target[i]);
      y[i] = e <= delta ? e * e / 2 : delta * (e - delta / 2);
    }
  });

  // The gradient, later: dout is dL/dy, and its share is added to x's gradient. The function keeps copies of views and
  // numbers ([=]), and only those that it reads.
  return tape.record(kHuber, y, {x}, [=](const Tensor<T>& dout) {
    add_elements(x.accumulator(),
                 [&](int64_t i) { return dout[i] * std::max(-delta, std::min(xv[i] - target[i], delta)); });
  });
}

}  // namespace

int main() {
  ParameterSet<double> parameters;
  const Parameter<double>* x = parameters.add("x", {20, 3}, Initializer::normal(2));
  Pool pool;
  const Tensor<double> target = make_tensor<double>(pool, {20, 3});
  Philox(/*seed=*/4).fill_normal(target.data(), target.numel(), 0.0, 1.0);

  const GradcheckReport report =
      gradcheck(parameters.all(), [&](Tape<double>& tape) { return huber<double>(tape.parameter(*x), target, 1.5); });
  std::printf("largest error of the gradient %.1e  should be below 1e-7\n", report.worst);

  std::string error;
  try {
    Arena arena;
    Tape<double> tape(arena);
    huber<double>(tape.parameter(*x), target, -1);
  } catch (const Error& e) {
    error = e.what();
  }
  std::printf("a wrong delta: %s\n", error.c_str());
  return report.worst < 1e-7 && error == "[huber] delta is -1; it must be positive" ? 0 : 1;
}
