// Adam, Adagrad and SGD on whole parameters and on a table's rows, against their formulas, in float and double.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/layers/parameter_set.h>
#include <twotower/train/optim/adagrad.h>
#include <twotower/train/optim/adam.h>
#include <twotower/train/optim/schedule.h>
#include <twotower/train/optim/sgd.h>

#include <cmath>
#include <memory>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

constexpr int64_t kRows = 50, kWidth = 7, kDense = 30;

// What an optimizer is made with, and the same numbers for its formula.
struct Setting {
  std::string name;  // "adam", "adagrad", "sgd"
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, momentum = 0, weight_decay = 0;
};

template <class T>
std::unique_ptr<Optimizer<T>> make(const Setting& s) {
  if (s.name == "adam")
    return std::make_unique<Adam<T>>(AdamOptions{1e-3, s.beta1, s.beta2, s.epsilon, s.weight_decay});
  if (s.name == "adagrad") return std::make_unique<Adagrad<T>>(AdagradOptions{1e-2, s.epsilon, s.weight_decay});
  return std::make_unique<Sgd<T>>(SgdOptions{1e-2, s.momentum, s.weight_decay});
}

// A table of which each step looks up four rows, one of them twice, and a dense parameter. The loss is half the sum of
// squares of the lookups and of the dense one: the gradient of an element is the element, as often as it was looked up.
template <class T>
struct Problem {
  explicit Problem(const Setting& setting) : optimizer(make<T>(setting)) {
    table = set.add("table", {kRows, kWidth}, Initializer::normal(1));
    dense = set.add("dense", {kDense}, Initializer::normal(1));
  }
  static std::vector<int64_t> ids(int64_t step) { return {step % 5, 10 + step % 3, step % 5, 49, -1}; }

  void step(int64_t number, double rate, double grad_scale = 1) {
    Arena arena;
    Tape<T> tape(arena);
    const std::vector<int64_t> at = ids(number);
    const Variable<T> rows = embedding(tape.parameter(*table), {at.data(), {5}});
    const Variable<T> loss = (sum(square(rows)) + sum(square(tape.parameter(*dense)))) * T(0.5);
    optimizer->set_learning_rate(rate);
    optimizer->step(set.all(), tape.backward(loss), grad_scale);
  }
  ParameterSet<T> set;
  Parameter<T>*table, *dense;
  std::unique_ptr<Optimizer<T>> optimizer;
};

// The same, element by element. A table's rows move only when looked up, with the step count of all steps.
struct Formula {
  template <class T>
  Formula(const Problem<T>& problem, const Setting& setting) : s(setting) {
    for (const Parameter<T>* p : problem.set.all())
      for (const T v : p->value) x.push_back(static_cast<double>(v));
    first.assign(x.size(), 0), second.assign(x.size(), 0);
  }
  void step(int64_t number, double rate, double grad_scale) {
    std::vector<double> grad(x.size(), 0);
    std::vector<bool> touched(x.size(), false);
    for (const int64_t row : Problem<float>::ids(number))
      for (int64_t j = 0; row >= 0 && j < kWidth; ++j) {
        const auto at = static_cast<size_t>(row * kWidth + j);
        grad[at] += x[at], touched[at] = true;
      }
    for (auto at = static_cast<size_t>(kRows * kWidth); at < x.size(); ++at) grad[at] = x[at], touched[at] = true;
    ++steps;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!touched[i]) continue;
      const double g = grad[i] * grad_scale;
      x[i] *= 1 - rate * s.weight_decay;
      if (s.name == "adam") {
        first[i] = s.beta1 * first[i] + (1 - s.beta1) * g;
        second[i] = s.beta2 * second[i] + (1 - s.beta2) * g * g;
        const double m = first[i] / (1 - std::pow(s.beta1, steps)), v = second[i] / (1 - std::pow(s.beta2, steps));
        x[i] -= rate * m / (std::sqrt(v) + s.epsilon);
      } else if (s.name == "adagrad") {
        first[i] += g * g;
        x[i] -= rate * g / (std::sqrt(first[i]) + s.epsilon);
      } else {
        first[i] = s.momentum * first[i] + g;
        x[i] -= rate * first[i];
      }
    }
  }
  Setting s;
  std::vector<double> x, first, second;
  int steps = 0;
};

template <class T>
void compare(const Setting& setting) {
  INFO(setting.name, ", decay ", setting.weight_decay, ", momentum ", setting.momentum, ", bytes ", sizeof(T));
  Problem<T> problem(setting);
  const std::vector<T> before(problem.table->value.begin(), problem.table->value.end());
  Formula formula(problem, setting);
  for (int64_t i = 0; i < 25; ++i) {
    const double rate = 0.05 / static_cast<double>(1 + i), grad_scale = i % 4 == 3 ? 0.3 : 1;
    problem.step(i, rate, grad_scale);
    formula.step(i, rate, grad_scale);
  }
  CHECK(problem.optimizer->steps() == 25);
  const double precision = sizeof(T) == 4 ? 2e-5 : 1e-12;
  size_t at = 0;
  for (const Parameter<T>* p : problem.set.all())
    for (const T v : p->value)
      CHECK(static_cast<double>(v) == doctest::Approx(formula.x[at++]).epsilon(precision).scale(1));
  for (int64_t row = 0; row < kRows; ++row) {
    if (row < 5 || (row >= 10 && row < 13) || row == 49) continue;
    for (int64_t j = 0; j < kWidth; ++j)  // never looked up: not a bit has changed
      CHECK(problem.table->value.row(row)[j] == before[static_cast<size_t>(row * kWidth + j)]);
  }
}

std::vector<Setting> settings() {
  std::vector<Setting> out = {{"adam"}, {"adagrad"}, {"sgd"}, {"sgd"}, {"adam"}};
  out[1].epsilon = 1e-10;
  out[3].momentum = 0.8;
  out[4].beta1 = 0, out[4].beta2 = 0.9, out[4].epsilon = 1e-3;
  for (size_t i = 0, n = out.size(); i < n; ++i) {
    out.push_back(out[i]);
    out.back().weight_decay = 0.1;
  }
  return out;
}

}  // namespace

TEST_CASE("optimizer: every one follows its formula, on rows and on whole parameters, in float and double") {
  for (const Setting& setting : settings()) {
    compare<float>(setting);
    compare<double>(setting);
  }
}

// A parameter that a step did not use has no gradient in it. One that an earlier step left beside the parameter would
// lie in memory that this step has used for something else.
TEST_CASE("optimizer: what a step does not reach stays as it is, whatever the step before did") {
  for (const char* name : {"adam", "adagrad", "sgd"}) {
    ParameterSet<float> set;
    Parameter<float>*a = set.add("a", {3}, Initializer::constant(1)), *b = set.add("b", {3}, Initializer::constant(1));
    const auto optimizer = make<float>({name});
    Arena arena;
    Tape<float> tape(arena);
    optimizer->step(set.all(), tape.backward(sum(tape.parameter(*a) * tape.parameter(*b))));
    tape.reset();
    const std::vector<float> before(b->value.begin(), b->value.end());
    optimizer->step(set.all(), tape.backward(sum(square(tape.parameter(*a)))));
    for (size_t i = 0; i < 3; ++i) CHECK(b->value[static_cast<int64_t>(i)] == before[i]);
  }
}

// Two updates for one step would count the step's momentum twice.
TEST_CASE("optimizer: a table that is looked up and multiplied gets one update, from the sum of both gradients") {
  Setting setting{"adam"};
  ParameterSet<double> tables, wholes;
  const int64_t ids[] = {2, 0, 2};
  const Tensor<const int64_t> lookups(ids, {3});
  const auto train = [&](ParameterSet<double>& set, TableGradient form) {
    Parameter<double>* table = set.add("table", {4, 3}, Initializer::normal(1));
    Adam<double> adam;
    Arena arena;
    for (int i = 0; i < 3; ++i) {
      Tape<double> tape(arena);
      const Variable<double> t = tape.parameter(*table), rows = embedding(t, lookups, form);
      adam.step(set.all(), tape.backward(sum(square(matmul(rows, t, /*transpose_b=*/true)))));
      tape.reset();
    }
    return std::vector<double>(table->value.begin(), table->value.end());
  };
  const std::vector<double> mixed = train(tables, TableGradient::rows), dense = train(wholes, TableGradient::dense);
  for (size_t i = 0; i < mixed.size(); ++i) CHECK(mixed[i] == doctest::Approx(dense[i]).epsilon(1e-12));
}

TEST_CASE("optimizer: a rate scale is one parameter's own") {
  ParameterSet<float> set;
  Parameter<float>*a = set.add("a", {2}, Initializer::constant(1)), *b = set.add("b", {2}, Initializer::constant(1));
  Sgd<float> sgd({0.1});
  sgd.set_rate_scale(*b, 3);
  Arena arena;
  Tape<float> tape(arena);
  sgd.step(set.all(), tape.backward(sum(tape.parameter(*a) + tape.parameter(*b))));
  CHECK(a->value[0] == doctest::Approx(0.9));
  CHECK(b->value[0] == doctest::Approx(0.7));
}

TEST_CASE("optimizer: state saved and loaded goes on with the same bits") {
  for (const Setting& setting : settings()) {
    const TempFolder folder;
    Problem<float> whole(setting), resumed(setting);
    for (int64_t i = 0; i < 5; ++i) whole.step(i, 0.01);
    SafetensorsWriter writer;
    whole.optimizer->add_state(writer, whole.set.all());
    writer.write(folder.path() + "/state");
    for (const char* p : {"table", "dense"})
      std::copy(whole.set.find(p)->value.begin(), whole.set.find(p)->value.end(), resumed.set.find(p)->value.begin());
    resumed.optimizer->load_state(SafetensorsFile::open(folder.path() + "/state"), resumed.set.all());
    CHECK(resumed.optimizer->steps() == 5);
    for (int64_t i = 5; i < 9; ++i) whole.step(i, 0.01), resumed.step(i, 0.01);
    for (const char* p : {"table", "dense"})
      for (int64_t i = 0; i < whole.set.find(p)->value.numel(); ++i)
        CHECK(whole.set.find(p)->value[i] == resumed.set.find(p)->value[i]);
  }
}

TEST_CASE("optimizer: state of another model or optimizer is refused") {
  const TempFolder folder;
  const std::string path = folder.path() + "/state";
  SafetensorsWriter writer;
  Problem<float> adagrad({"adagrad"}), adam({"adam"});
  adagrad.optimizer->add_state(writer, adagrad.set.all());
  writer.write(path);
  const SafetensorsFile file = SafetensorsFile::open(path);
  CHECK(error_of([&] { adam.optimizer->load_state(file, adam.set.all()); }, path) != "");
}

TEST_CASE("schedule: warm-up, then constant, linear or cosine decay") {
  Schedule c{0.1, 4, "none"};
  CHECK(c.at(1, 104) == doctest::Approx(0.025));
  CHECK(c.at(4, 104) == doctest::Approx(0.1));
  CHECK(c.at(5, 104) == doctest::Approx(0.1));
  CHECK(c.at(104, 104) == doctest::Approx(0.1));
  c.decay = "linear";
  CHECK(c.at(5, 104) == doctest::Approx(0.1));
  CHECK(c.at(55, 104) == doctest::Approx(0.05));
  CHECK(c.at(104, 104) == doctest::Approx(0.001));
  CHECK(c.at(500, 104) == doctest::Approx(0));
  c.decay = "cosine";
  CHECK(c.at(55, 104) == doctest::Approx(0.05));
  CHECK(c.at(30, 104) == doctest::Approx(0.05 * (1 + std::cos(M_PI / 4))));
  c.warmup_steps = 200;  // longer than the training
  CHECK(c.at(104, 104) == doctest::Approx(0.052));
}
