// What debiasing does to a batch's weights, by hand.

#include <doctest/doctest.h>
#include <twotower/models/debias.h>

#include <optional>
#include <vector>

#include "tests/models/fixtures.h"

using namespace tt;

namespace {

struct World {
  explicit World(double cap, const char* kind = "position") {
    config = testing::rung_config("base");
    config.debias = kind, config.debias_cap = cap;
    debias.emplace(parameters, config);
    curve = parameters.find("position_bias_net_user_value.weight");
  }
  std::vector<double> weights(const std::vector<double>& values, const std::vector<int32_t>& positions) {
    const auto b = static_cast<int64_t>(values.size());
    tape.reset();
    const Tensor<double> u = tape.make({b, config.item_id_embedding_dim});
    u.fill(0.1);
    const auto out =
        (*debias)(tape, Tensor<const double>(values.data(), {b}), {positions.data(), {b}}, tape.constant(u));
    loss = out.loss;
    const Tensor<double> w = out.value.value();
    return {w.begin(), w.end()};
  }

  ModelConfig config;
  ParameterSet<double> parameters;
  std::optional<Debias<double>> debias;
  Parameter<double>* curve;
  Arena arena;
  Tape<double> tape{arena};
  Variable<double> loss;
};

}  // namespace

TEST_CASE("debias: one row with an estimate near zero cannot mute its batch") {
  const std::vector<double> values = {1, 1, 0, 2, 1};
  const std::vector<int32_t> positions = {0, 0, 1, 0, 2};
  World plain(0), capped(10);
  for (World* w : {&plain, &capped}) w->curve->value[0] = 1, w->curve->value[1] = 0.5, w->curve->value[2] = 0;
  CHECK(plain.weights(values, positions) == std::vector<double>{1, 1, 0, 2, 1000});
  CHECK(capped.weights(values, positions) == std::vector<double>{1, 1, 0, 2, 10});  // the median of 1, 1, 2, 1000 is 1
  CHECK(capped.weights({0, 0, 0, 0, 3}, positions) == std::vector<double>{0, 0, 0, 0, 3000});  // alone with value
  CHECK(capped.weights({0, 0, 0, 0, 0}, positions) == std::vector<double>(5, 0));
}

TEST_CASE("debias: a row without a position is divided by the mean of its batch's slots, and says nothing of any") {
  World w(0);
  w.curve->value[0] = 1, w.curve->value[1] = 0.5;
  CHECK(w.weights({1, 1, 3}, {0, 1, -1}) == std::vector<double>{1, 2, 4});
  CHECK(w.loss.item() == doctest::Approx((0 + 0.25) / 2));
  const Gradients<double> gradients = w.tape.backward(w.loss);
  const std::vector<double> g = testing::dense_gradient(gradients, *w.curve);
  CHECK(g[0] == 0);  // it was trained as slot 0 before
  CHECK(g[1] == doctest::Approx(-0.5));

  const std::vector<int32_t> positions = {0, 1, -1};
  w.tape.reset();
  const Tensor<const double> seen = w.debias->examination(w.tape, {positions.data(), {3}});
  CHECK(std::vector<double>(seen.begin(), seen.end()) == std::vector<double>{1, 0.5, 0.75});
  CHECK(w.weights({1, 3}, {-1, -1}) == std::vector<double>{1, 3});  // nobody knows: as in the first slot
  CHECK(w.loss.item() == 0);
}
