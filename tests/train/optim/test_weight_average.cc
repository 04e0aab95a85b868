// The moving average of the weights: exact although rows are visited only when a step touches them, out of
// the way of training, and the same after a resumed run.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/layers/parameter_set.h>
#include <twotower/train/optim/weight_average.h>

#include <cmath>
#include <optional>
#include <vector>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

// A table of 5 rows of which each step changes some, and a dense parameter.
struct Model {
  Model() {
    table = set.add("table", {5, 3}, Initializer::normal(1));
    dense = set.add("dense", {4}, Initializer::normal(1));
  }
  // Counts a step whose gradients are in these rows of the table, and in the whole of the dense parameter.
  void before_step(WeightAverage& average, const std::vector<int64_t>& which, int64_t done) {
    rows = which;
    Tape<float> tape(arena);
    const Variable<float> found = embedding(tape.parameter(*table), {rows.data(), {static_cast<int64_t>(rows.size())}});
    average.before_step(done, tape.backward(sum(found) + sum(tape.parameter(*dense))));
    tape.reset();
  }
  void change(double by) {
    for (const int64_t r : rows)
      for (int64_t j = 0; j < 3; ++j) table->value.row(r)[j] += static_cast<float>(by * static_cast<double>(r + j + 1));
    for (float& x : dense->value) x -= static_cast<float>(by);
  }
  std::vector<double> all() const {
    std::vector<double> out(table->value.begin(), table->value.end());
    out.insert(out.end(), dense->value.begin(), dense->value.end());
    return out;
  }
  ParameterSet<float> set{3};
  Parameter<float>*table, *dense;
  std::vector<int64_t> rows;
  Arena arena;
};

const std::vector<std::vector<int64_t>> kTouched = {{0, 2}, {2}, {1, 2, 4}, {0}, {2, 4}, {0, 1}, {4}};  // row 3: never

}  // namespace

TEST_CASE("weight average: the average of the definition, rows untouched for long included") {
  const double decay = 0.8;
  Model model;
  WeightAverage average(model.set.all(), decay);
  std::vector<double> sum(model.all().size(), 0);
  for (size_t t = 0; t < kTouched.size(); ++t) {
    model.before_step(average, kTouched[t], static_cast<int64_t>(t));
    model.change(0.1 * static_cast<double>(t + 1));
    const std::vector<double> now = model.all();
    for (size_t i = 0; i < sum.size(); ++i) sum[i] = decay * sum[i] + (1 - decay) * now[i];

    const double scale = 1 / (1 - std::pow(decay, static_cast<double>(t + 1)));
    if (t % 3 == 2) continue;  // reading it or not must make no difference to what comes after
    {
      const AveragedWeights applied(&average, static_cast<int64_t>(t + 1));
      const std::vector<double> found = model.all();
      for (size_t i = 0; i < sum.size(); ++i) CHECK(found[i] == doctest::Approx(scale * sum[i]).epsilon(1e-5));
    }
    CHECK(model.all() == now);  // bit by bit
  }
}

TEST_CASE("weight average: goes on from its saved state") {
  const TempFolder folder;
  const auto run = [&](size_t stop) {
    Model model;
    std::optional<WeightAverage> average(std::in_place, model.set.all(), 0.9);
    for (size_t t = 0; t < kTouched.size(); ++t) {
      if (t == stop) {
        SafetensorsWriter writer;
        average->add_state(writer);
        writer.write(folder.path() + "/state.safetensors");
        average.emplace(model.set.all(), 0.9);
        average->load_state(SafetensorsFile::open(folder.path() + "/state.safetensors"));
      }
      model.before_step(*average, kTouched[t], static_cast<int64_t>(t));
      model.change(0.3);
    }
    average->apply(static_cast<int64_t>(kTouched.size()));
    return model.all();
  };
  CHECK(run(99) == run(4));
}
