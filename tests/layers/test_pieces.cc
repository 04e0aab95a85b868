// Embedding, LayerNorm and Mlp against the plain ops that they stand for, value and gradients, and what they refuse.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/layers/embedding.h>
#include <twotower/layers/layer_norm.h>
#include <twotower/layers/mlp.h>
#include <twotower/tensor/random.h>

#include <functional>

#include "tests/error_of.h"

using namespace tt;

namespace {

using Function = std::function<Variable<double>(Tape<double>&, Variable<double> x)>;

// The value, and the gradients of x and of every parameter.
std::vector<double> run(const ParameterSet<double>& set, const Shape& shape, const Function& f) {
  Pool pool;
  Arena arena;
  Tape<double> tape(arena);
  const Tensor<double> values = make_tensor<double>(pool, shape);
  Philox(2).fill_normal(values.data(), values.numel(), 0.0, 1.0);
  const Variable<double> x = tape.variable(values), y = f(tape, x);
  const Tensor<double> upstream = make_tensor<double>(pool, y.shape());
  Philox(3).fill_normal(upstream.data(), upstream.numel(), 0.0, 1.0);
  const Gradients<double> gradients = tape.backward(y, upstream);
  std::vector<double> all(y.value().begin(), y.value().end());
  all.insert(all.end(), gradients.of(x).begin(), gradients.of(x).end());
  for (const Parameter<double>* p : set.all()) {
    const Gradient<double> g = gradients.of(*p);
    std::vector<double> dense(static_cast<size_t>(p->value.numel()), 0);
    std::copy(g.dense.begin(), g.dense.end(), dense.begin());
    if (g.rows.count() > 0) add_rows(g.rows, Tensor<double>(dense.data(), p->value.shape()));
    all.insert(all.end(), dense.begin(), dense.end());
  }
  return all;
}

void compare(const ParameterSet<double>& set, const Shape& shape, const Function& layer, const Function& plain) {
  const std::vector<double> found = run(set, shape, layer), expected = run(set, shape, plain);
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-12).scale(1));
}

}  // namespace

TEST_CASE("mlp of no, one and two hidden layers is products, biases and relus in turn") {
  for (const std::vector<int64_t>& widths :
       {std::vector<int64_t>{4, 3}, std::vector<int64_t>{4, 6, 3}, std::vector<int64_t>{4, 6, 5, 2}}) {
    INFO("widths ", widths.size());
    ParameterSet<double> set;
    const Mlp<double> mlp(set, "m", widths);
    REQUIRE(set.all().size() == 2 * (widths.size() - 1));
    for (size_t i = 0; i + 1 < widths.size(); ++i) {
      const std::string layer = "m." + std::to_string(2 * i);
      REQUIRE(set.find(layer + ".weight") != nullptr);
      CHECK(set.find(layer + ".weight")->value.shape() == Shape{widths[i + 1], widths[i]});
      CHECK(set.find(layer + ".bias")->value.shape() == Shape{widths[i + 1]});
    }
    compare(
        set, {7, 4}, [&](Tape<double>& tape, Variable<double> x) { return mlp(tape, x); },
        [&](Tape<double>& tape, Variable<double> x) {
          for (size_t i = 0; i + 1 < widths.size(); ++i) {
            if (i > 0) x = relu(x);
            x = matmul(x, tape.parameter(*set.all()[2 * i]), true) + tape.parameter(*set.all()[2 * i + 1]);
          }
          return x;
        });
  }
  ParameterSet<double> set;
  CHECK(error_of([&] { Mlp<double>(set, "m", {4}); }) ==
        "[mlp] \"m\" has 1 widths; give those of its input and output");
  const Mlp<double> mlp(set, "m", {4, 2});
  CHECK(error_of([&] {
          Arena arena;
          Tape<double> tape(arena);
          mlp(tape, tape.constant(set.all()[1]->value));
        }) == "[linear] the input has 2 columns, the weight [2, 4] expects 4");
}

TEST_CASE("layer_norm is centred, scaled, and goes through gain and bias") {
  ParameterSet<double> set;
  const LayerNorm<double> norm(set, "n", 5);
  CHECK(set.find("n.weight")->value[3] == 1);
  CHECK(set.find("n.bias")->value[3] == 0);
  for (Parameter<double>* p : set.all()) Philox(7).fill_normal(p->value.data(), p->value.numel(), 0.5, 1.0);
  compare(
      set, {6, 5}, [&](Tape<double>& tape, Variable<double> x) { return norm(tape, x); },
      [&](Tape<double>& tape, Variable<double> x) {
        const Variable<double> centred = x - mean(x, 1);
        const Variable<double> hat = centred / sqrt(mean(square(centred), 1) + 1e-5);
        return hat * tape.parameter(*norm.gain) + tape.parameter(*norm.bias);
      });
  CHECK(error_of([&] {
          run(set, {2, 4}, [&](Tape<double>& t, Variable<double> x) { return norm(t, x); });
        }) == "[layer_norm] gain and bias must have 4 elements");
}

TEST_CASE("embedding is a product with rows of a unit matrix; its gradient has the touched rows, or all") {
  const int64_t ids[] = {3, 0, -1, 3};
  for (const TableGradient form : {TableGradient::rows, TableGradient::dense}) {
    ParameterSet<double> set;
    const Embedding<double> table(set, "t", 5, 3, Initializer::normal(1), form);
    CHECK(set.find("t.weight")->value.shape() == Shape{5, 3});
    compare(
        set, {4, 3},
        [&](Tape<double>& tape, Variable<double> x) {
          return table(tape, {ids, {4}}) * x;
        },
        [&](Tape<double>& tape, Variable<double> x) {
          const Tensor<double> unit = tape.make({4, 5});
          unit.fill(0);
          for (int64_t i = 0; i < 4; ++i)
            if (ids[i] >= 0) unit.row(i)[ids[i]] = 1;
          return matmul(tape.constant(unit), tape.parameter(*table.weight)) * x;
        });
    Arena arena;
    Tape<double> tape(arena);
    const Gradient<double> g = tape.backward(sum(table(tape, {ids, {4}}))).of(*table.weight);
    CHECK(static_cast<bool>(g.dense) == (form == TableGradient::dense));
    CHECK(g.rows.count() == (form == TableGradient::rows ? 2 : 0));
    const int64_t wrong[] = {5};
    CHECK(error_of([&] {
            table(tape, {wrong, {1}});
          }) == "[embedding] id 5 at position 0; the table has rows 0 to 4 (-1 means none)");
  }
}
