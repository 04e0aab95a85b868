#include <doctest/doctest.h>
#include <twotower/autograd/gradcheck.h>

#include <set>

#include "tests/autograd/cases.h"

using namespace tt;

namespace {

GradcheckReport check_case(const testing::Case& c) {
  Pool pool;
  std::vector<Parameter<double>> parameters(c.inputs.size());
  std::vector<Parameter<double>*> pointers;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    parameters[i].name = "input" + std::to_string(i);
    parameters[i].value = make_tensor<double>(pool, c.inputs[i]);
    testing::fill(c, i, parameters[i].value);
    pointers.push_back(&parameters[i]);
  }
  return gradcheck(pointers, [&](Tape<double>& tape) {
    testing::Inputs<double> inputs;
    for (Parameter<double>* p : pointers) inputs.push_back(tape.parameter(*p));
    return c.in_double(tape, inputs);
  });
}

}  // namespace

TEST_CASE("gradcheck: every op's gradient is its numeric one, and no op goes without a check") {
  std::set<std::string> checked;
  for (const testing::Case& c : testing::cases()) {
    const GradcheckReport report = check_case(c);
    INFO("op ", c.op, ", worst at ", report.where);
    CHECK(report.worst < 1e-7);
    CHECK(report.ops.count(c.op) == 1);
    checked.insert(c.op);
  }
  for (const Op* op : Op::all()) {
    INFO("op ", op->name, " has no case in tests/autograd/cases.h");
    CHECK((!op->differentiable || checked.count(op->name) == 1));
  }
}

TEST_CASE("gradcheck sees a wrong gradient") {
  static const Op wrong_square("wrong_square", /*differentiable=*/true);
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
      const Tensor<double> dx = x.grad_to_add();
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
  tape.backward(y);
  CHECK(y.item() == 25);
  CHECK(x.grad()[0] == 3);  // not 6
  CHECK(x.grad()[1] == 4);
}
