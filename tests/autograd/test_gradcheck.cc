#include <doctest/doctest.h>
#include <twotower/autograd/gradcheck.h>

#include <set>

#include "tests/autograd/cases.h"

using namespace tt;

namespace {

// With only the inputs of `mask` asking for a gradient: an op must not tie one input's gradient to another's.
GradcheckReport check_case(const testing::Case& c, unsigned mask) {
  Pool pool;
  std::vector<Parameter<double>> inputs(c.inputs.size());
  std::vector<Parameter<double>*> checked;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    inputs[i].name = "input" + std::to_string(i);
    inputs[i].number = static_cast<int64_t>(i);
    inputs[i].value = make_tensor<double>(pool, c.inputs[i]);
    testing::fill(c, i, inputs[i].value);
    if (mask >> i & 1) checked.push_back(&inputs[i]);
  }
  return gradcheck(checked, [&](Tape<double>& tape) {
    testing::Inputs<double> x;
    for (size_t i = 0; i < inputs.size(); ++i)
      x.push_back(mask >> i & 1 ? tape.parameter(inputs[i]) : tape.constant(inputs[i].value));
    return c.in_double(tape, x);
  });
}

}  // namespace

TEST_CASE("gradcheck: every op's gradient is its numeric one, and no op goes without a check") {
  std::set<std::string> checked;
  for (const testing::Case& c : testing::cases()) {
    const unsigned all = (1u << c.inputs.size()) - 1;
    for (unsigned mask = 1; mask <= all; ++mask) {
      const GradcheckReport report = check_case(c, mask);
      INFO("op ", c.op, ", inputs ", mask, ", worst at ", report.where);
      CHECK(report.worst < 1e-7);
      CHECK(report.ops.count(c.op) == 1);
    }
    checked.insert(c.op);
  }
  for (const Op* op : Op::all()) {
    if (std::string(op->name).starts_with("test_")) continue;
    INFO("op ", op->name, " has no case in tests/autograd/cases.h");
    CHECK((!op->differentiable || checked.count(op->name) == 1));
  }
}

TEST_CASE("gradcheck sees a wrong gradient") {
  static const Op wrong_square("test_wrong_square", /*differentiable=*/true);
  Pool pool;
  Parameter<double> p;
  p.name = "x";
  p.value = make_tensor<double>(pool, {3});
  p.value.fill(0.7);
  const auto report = gradcheck({&p}, [&](Tape<double>& tape) {
    const Variable<double> x = tape.parameter(p);
    const Tensor<double> y = tape.make({3});
    for (int i = 0; i < 3; ++i) y[i] = x.value()[i] * x.value()[i];
    return tape.record(wrong_square, y, {x}, [=](const Tensor<double>& dout) {
      double* dx = x.accumulator().all();
      for (int i = 0; i < 3; ++i) dx[i] += 1.99 * dout[i] * x.value()[i];
    });
  });
  CHECK(report.worst > 1e-3);
}

TEST_CASE("detach passes the value and stops the gradient") {
  Arena arena;
  Tape<double> tape(arena);
  Pool pool;
  const Tensor<double> v = make_tensor<double>(pool, {2});
  v[0] = 3, v[1] = 4;
  const Variable<double> x = tape.variable(v);
  const Variable<double> y = sum(multiply(x, detach(x)));
  const Gradients<double> gradients = tape.backward(y);
  CHECK(y.item() == 25);
  CHECK(gradients.of(x)[0] == 3);  // not 6
  CHECK(gradients.of(x)[1] == 4);
}
