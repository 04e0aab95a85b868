// Adam and Adagrad on whole parameters and on a table's rows, against the formulas.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/elementwise.h>
#include <twotower/autograd/ops/embedding.h>
#include <twotower/autograd/ops/reduce.h>
#include <twotower/tensor/random.h>
#include <twotower/train/optim/optimizer.h>
#include <twotower/train/optim/schedule.h>

#include <cmath>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

constexpr int64_t kRows = 50, kWidth = 7, kDense = 30;

// A table of which each step looks up four rows, one of them twice, and a dense parameter. The loss is
// sum(c * row^2) over the lookups and sum(c * x^2): its gradient is easily written down.
struct Problem {
  explicit Problem(const TrainConfig& config) : optimizer(build(set), config) {}
  static ParameterSet<float>& build(ParameterSet<float>& set) {
    set.add_table("table", {kRows, kWidth}, Initializer::normal(1));
    set.add("dense", {kDense}, Initializer::normal(1));
    return set;
  }
  static std::vector<int64_t> ids(int64_t step) { return {step % 5, 10 + step % 3, step % 5, 49, -1}; }

  double step(int64_t number, double rate) {
    Arena arena;
    Tape<float> tape(arena);
    const std::vector<int64_t> at = ids(number);
    const Variable<float> rows = embedding(tape.parameter(*set.find("table")), {at.data(), {5}});
    const Variable<float> dense = sum(square(tape.parameter(*set.find("dense"))));
    tape.backward(add(scale(sum(square(rows)), 0.5f), scale(dense, 0.5f)));
    return optimizer.step(rate);
  }
  ParameterSet<float> set;
  Optimizer optimizer;
};

// The same in double, element by element. A table's rows move only when looked up, with the step count of all
// steps.
struct Formula {
  Formula(const ParameterSet<float>& set, const TrainConfig& c) : config(c) {
    for (const char* name : {"table", "dense"})
      for (const float v : set.find(name)->value) x.push_back(static_cast<double>(v));
    first.assign(x.size(), 0), second.assign(x.size(), 0);
  }
  double step(int64_t number, double rate) {
    std::vector<double> grad(x.size(), 0);
    std::vector<bool> touched(x.size(), false);
    for (const int64_t row : Problem::ids(number))
      for (int64_t j = 0; row >= 0 && j < kWidth; ++j) {
        const auto at = static_cast<size_t>(row * kWidth + j);
        grad[at] += x[at], touched[at] = true;
      }
    for (auto at = static_cast<size_t>(kRows * kWidth); at < x.size(); ++at) grad[at] = x[at], touched[at] = true;
    double norm = 0;
    for (const double g : grad) norm += g * g;
    norm = std::sqrt(norm);
    const double factor = config.clip_norm > 0 && norm > config.clip_norm ? config.clip_norm / norm : 1;
    ++steps;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!touched[i]) continue;
      const double g = grad[i] * factor;
      x[i] *= 1 - rate * config.weight_decay;
      if (config.optimizer == "adam") {
        first[i] = config.beta1 * first[i] + (1 - config.beta1) * g;
        second[i] = config.beta2 * second[i] + (1 - config.beta2) * g * g;
        const double m = first[i] / (1 - std::pow(config.beta1, steps)),
                     v = second[i] / (1 - std::pow(config.beta2, steps));
        x[i] -= rate * m / (std::sqrt(v) + config.epsilon);
      } else {
        first[i] += g * g;
        x[i] -= rate * g / (std::sqrt(first[i]) + config.epsilon);
      }
    }
    return norm;
  }
  TrainConfig config;
  std::vector<double> x, first, second;
  int steps = 0;
};

void compare(const TrainConfig& config) {
  INFO(config.optimizer, ", clip ", config.clip_norm, ", decay ", config.weight_decay);
  Problem problem(config);
  const std::vector<float> before(problem.set.find("table")->value.begin(), problem.set.find("table")->value.end());
  Formula formula(problem.set, config);
  for (int64_t i = 0; i < 25; ++i) {
    const double rate = 0.05 / static_cast<double>(1 + i), norm = problem.step(i, rate),
                 expected = formula.step(i, rate);
    CHECK(norm == doctest::Approx(config.clip_norm > 0 ? expected : 0).epsilon(1e-5));
  }
  CHECK(problem.optimizer.steps() == 25);
  size_t at = 0;
  for (const char* name : {"table", "dense"})
    for (const float v : problem.set.find(name)->value)
      CHECK(v == doctest::Approx(formula.x[at++]).epsilon(2e-5).scale(1));
  for (int64_t row = 0; row < kRows; ++row) {
    if (row < 5 || (row >= 10 && row < 13) || row == 49) continue;
    for (int64_t j = 0; j < kWidth; ++j)  // never looked up: not a bit has changed
      CHECK(problem.set.find("table")->value.row(row)[j] == before[static_cast<size_t>(row * kWidth + j)]);
  }
}

TrainConfig with(const char* optimizer, double clip, double decay) {
  TrainConfig c;
  c.optimizer = optimizer, c.clip_norm = clip, c.weight_decay = decay;
  return c;
}

}  // namespace

TEST_CASE("optimizer: Adam and Adagrad follow their formulas, with clipping and decoupled weight decay") {
  for (const char* name : {"adam", "adagrad"})
    for (const double clip : {0.0, 0.5, 1e6})
      for (const double decay : {0.0, 0.1}) compare(with(name, clip, decay));
}

TEST_CASE("optimizer: other betas and epsilon") {
  TrainConfig config;
  config.beta1 = 0, config.beta2 = 0.9, config.epsilon = 1e-3;
  compare(config);
}

TEST_CASE("optimizer: what cannot be trained, or was not reached, stays") {
  ParameterSet<float> set;
  Parameter<float>*frozen = set.add("frozen", {3}, Initializer::constant(1)),
  *unused = set.add("unused", {3}, Initializer::constant(1)), *used = set.add("used", {3}, Initializer::constant(1));
  frozen->trainable = false;
  Optimizer optimizer(set, with("adam", 0, 0.1));
  Arena arena;
  Tape<float> tape(arena);
  tape.backward(sum(multiply(tape.parameter(*frozen), tape.parameter(*used))));
  optimizer.step(0.1);
  for (int i = 0; i < 3; ++i) {
    CHECK(frozen->value[i] == 1);
    CHECK(unused->value[i] == 1);
    CHECK(used->value[i] < 1);
  }
}

TEST_CASE("optimizer: state saved and loaded goes on with the same bits") {
  for (const char* name : {"adam", "adagrad"}) {
    const TempFolder folder;
    const TrainConfig config = with(name, 0.5, 0.01);
    Problem whole(config), resumed(config);
    for (int64_t i = 0; i < 5; ++i) whole.step(i, 0.01);
    SafetensorsWriter writer;
    whole.optimizer.add_state(writer);
    writer.write(folder.path() + "/state");
    for (const char* p : {"table", "dense"})
      std::copy(whole.set.find(p)->value.begin(), whole.set.find(p)->value.end(), resumed.set.find(p)->value.begin());
    resumed.optimizer.load_state(SafetensorsFile::open(folder.path() + "/state"));
    CHECK(resumed.optimizer.steps() == 5);
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
  Problem adagrad(with("adagrad", 0, 0)), adam(with("adam", 0, 0));
  adagrad.optimizer.add_state(writer);
  writer.write(path);
  const SafetensorsFile file = SafetensorsFile::open(path);
  CHECK(error_of([&] { adam.optimizer.load_state(file); }, path) != "");
}

TEST_CASE("schedule: warm-up, then constant, linear or cosine decay") {
  TrainConfig c;
  c.learning_rate = 0.1, c.warmup_steps = 4;
  CHECK(learning_rate(c, 1, 104) == doctest::Approx(0.025));
  CHECK(learning_rate(c, 4, 104) == doctest::Approx(0.1));
  CHECK(learning_rate(c, 5, 104) == doctest::Approx(0.1));
  CHECK(learning_rate(c, 104, 104) == doctest::Approx(0.1));
  c.decay = "linear";
  CHECK(learning_rate(c, 5, 104) == doctest::Approx(0.1));
  CHECK(learning_rate(c, 55, 104) == doctest::Approx(0.05));
  CHECK(learning_rate(c, 104, 104) == doctest::Approx(0.001));
  CHECK(learning_rate(c, 500, 104) == doctest::Approx(0));
  c.decay = "cosine";
  CHECK(learning_rate(c, 55, 104) == doctest::Approx(0.05));
  CHECK(learning_rate(c, 30, 104) == doctest::Approx(0.05 * (1 + std::cos(M_PI / 4))));
  c.warmup_steps = 200;  // longer than the training
  CHECK(learning_rate(c, 104, 104) == doctest::Approx(0.052));
}
