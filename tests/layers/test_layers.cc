// Layers: initial values, positional encodings, and the parameter names of the table in docs and checkpoints.

#include <doctest/doctest.h>
#include <twotower/layers/linear.h>
#include <twotower/layers/mlp.h>
#include <twotower/layers/multihead_attention.h>
#include <twotower/layers/positional_encoding.h>
#include <twotower/layers/transformer_block.h>
#include <twotower/models/two_tower.h>
#include <twotower/tensor/threads/parallel.h>

#include <cmath>
#include <map>

#include "tests/error_of.h"

using namespace tt;

namespace {

struct Moments {
  double lowest = 1e9, highest = -1e9, mean = 0, deviation = 0;
};

Moments moments(const Tensor<float>& x) {
  Moments m;
  const auto n = static_cast<double>(x.numel());
  for (const float v : x) {
    m.lowest = std::min(m.lowest, static_cast<double>(v)), m.highest = std::max(m.highest, static_cast<double>(v));
    m.mean += static_cast<double>(v) / n;
  }
  for (const float v : x) m.deviation += std::pow(static_cast<double>(v) - m.mean, 2) / n;
  m.deviation = std::sqrt(m.deviation);
  return m;
}

std::vector<float> values(const Parameter<float>* p) { return {p->value.begin(), p->value.end()}; }

std::string text(const Shape& shape) {
  std::ostringstream out;
  out << shape;
  return out.str();
}

std::map<std::string, std::string> shapes(const ParameterSet<float>& parameters) {
  std::map<std::string, std::string> all;
  for (const Parameter<float>* p : parameters.all()) all[p->name] = text(p->value.shape());
  return all;
}

}  // namespace

TEST_CASE("initial values have the ranges they should") {
  ParameterSet<float> set(3);
  const Moments uniform = moments(set.add("u", {200, 100}, Initializer::fan_in(25))->value);
  CHECK(uniform.highest <= 0.2);
  CHECK(uniform.lowest >= -0.2);
  CHECK(uniform.highest > 0.199);
  CHECK(uniform.lowest < -0.199);
  CHECK(std::abs(uniform.mean) < 0.003);
  CHECK(uniform.deviation == doctest::Approx(0.2 / std::sqrt(3.0)).epsilon(0.02));

  const double bound = std::sqrt(6.0 / 400);
  const Moments xavier = moments(set.add("x", {300, 100}, Initializer::xavier(100, 300))->value);
  CHECK(xavier.highest <= bound);
  CHECK(xavier.highest > 0.99 * bound);
  CHECK(xavier.lowest < -0.99 * bound);

  const Moments normal = moments(set.add("n", {200, 100}, Initializer::normal(0.1))->value);
  CHECK(std::abs(normal.mean) < 0.003);
  CHECK(normal.deviation == doctest::Approx(0.1).epsilon(0.02));
  CHECK(normal.highest > 0.3);  // has tails

  for (const float v : values(set.add("c", {5}, Initializer::constant(1.5)))) CHECK(v == 1.5f);
}

TEST_CASE("initial values depend on seed and name alone: not on order, on other parameters or on threads") {
  ParameterSet<float> ab(7), ba(7), other(8);
  const Parameter<float>*a1 = ab.add("a", {300, 300}, Initializer::normal(1)),
        *b1 = ab.add("b", {50}, Initializer::normal(1));
  set_num_threads(1);
  const Parameter<float>*b2 = ba.add("b", {50}, Initializer::normal(1)),
        *a2 = ba.add("a", {300, 300}, Initializer::normal(1));
  set_num_threads(2);
  CHECK(values(a1) == values(a2));
  CHECK(values(b1) == values(b2));
  CHECK(values(b1) != values(other.add("b", {50}, Initializer::normal(1))));
  const std::vector<float> a = values(a1);
  CHECK(std::vector<float>(a.begin(), a.begin() + 50) != values(b1));

  ParameterSet<double> wide(7);
  const Parameter<double>* b3 = wide.add("b", {50}, Initializer::normal(1));
  for (int64_t i = 0; i < 50; ++i) CHECK(static_cast<float>(b3->value[i]) == b1->value[i]);
}

TEST_CASE("a set keeps the order, finds by name and refuses a name twice") {
  ParameterSet<float> set;
  set.add("b", {2, 3}, Initializer::constant(0));
  set.add("a", {4, 1}, Initializer::constant(0));
  REQUIRE(set.all().size() == 2);
  CHECK(set.all()[0]->name == "b");
  CHECK(set.find("b")->number == 0);
  CHECK(set.find("a")->number == 1);
  CHECK(set.find("c") == nullptr);
  CHECK(set.element_count() == 10);
  CHECK(error_of([&] { set.add("b", {1}, Initializer::constant(0)); }) == "[model] two parameters are named \"b\"");
}

TEST_CASE("positional encodings follow their formulas") {
  Pool pool;
  const int64_t d = 6;
  const Tensor<double> standard = positional_encoding<double>(pool, 10, d, PositionalFormula::standard);
  const Tensor<double> doubled = positional_encoding<double>(pool, 10, d, PositionalFormula::doubled);
  for (int64_t p = 0; p < 10; ++p)
    for (int64_t i = 0; i < d / 2; ++i) {
      const auto angle = [&](double exponent) {
        return static_cast<double>(p) / std::pow(10000.0, exponent / static_cast<double>(d));
      };
      const auto even = static_cast<double>(2 * i), odd = even + 1;
      CHECK(standard.row(p)[2 * i] == doctest::Approx(std::sin(angle(even))).epsilon(1e-12));
      CHECK(standard.row(p)[2 * i + 1] == doctest::Approx(std::cos(angle(even))).epsilon(1e-12));
      CHECK(doubled.row(p)[2 * i] == doctest::Approx(std::sin(angle(2 * even))).epsilon(1e-12));
      CHECK(doubled.row(p)[2 * i + 1] == doctest::Approx(std::cos(angle(2 * odd))).epsilon(1e-12));
    }
  const Tensor<float> odd_width = positional_encoding<float>(pool, 3, 5, PositionalFormula::standard);
  CHECK(odd_width.row(2)[4] == doctest::Approx(std::sin(2 / std::pow(10000.0, 0.8))));
}

TEST_CASE("multi-head attention starts as PyTorch's does") {
  ParameterSet<float> set(2);
  const MultiheadAttention<float> layer(set, "m", 32, 4);
  CHECK(shapes(set) == std::map<std::string, std::string>{{"m.in_proj_weight", "[96, 32]"},
                                                          {"m.in_proj_bias", "[96]"},
                                                          {"m.out_proj.weight", "[32, 32]"},
                                                          {"m.out_proj.bias", "[32]"}});
  const double xavier = std::sqrt(6.0 / 128), fan_in = 1 / std::sqrt(32.0);
  const Moments in = moments(set.find("m.in_proj_weight")->value), out = moments(set.find("m.out_proj.weight")->value);
  CHECK(in.highest <= xavier);
  CHECK(in.highest > 0.98 * xavier);
  CHECK(out.highest <= fan_in);
  CHECK(out.highest > 0.97 * fan_in);
  for (const char* bias : {"m.in_proj_bias", "m.out_proj.bias"})
    for (const float b : values(set.find(bias))) CHECK(b == 0);
  CHECK(error_of([&] { MultiheadAttention<float>(set, "n", 32, 5); }) ==
        "[config] attention_heads = 5 does not divide the item width 32; choose a divisor of it");
}

TEST_CASE("a transformer block's parameters") {
  ParameterSet<float> set(2);
  const TransformerBlock<float> block(set, "t", 4, 2);
  CHECK(shapes(set) == std::map<std::string, std::string>{{"t.norm1.weight", "[4]"},
                                                          {"t.norm1.bias", "[4]"},
                                                          {"t.norm2.weight", "[4]"},
                                                          {"t.norm2.bias", "[4]"},
                                                          {"t.attention.in_proj_weight", "[12, 4]"},
                                                          {"t.attention.in_proj_bias", "[12]"},
                                                          {"t.attention.out_proj.weight", "[4, 4]"},
                                                          {"t.attention.out_proj.bias", "[4]"},
                                                          {"t.ffn.0.weight", "[16, 4]"},
                                                          {"t.ffn.0.bias", "[16]"},
                                                          {"t.ffn.2.weight", "[4, 16]"},
                                                          {"t.ffn.2.bias", "[4]"}});
  for (const float gain : values(set.find("t.norm1.weight"))) CHECK(gain == 1);
}

TEST_CASE("a whole model has the names and shapes of the parameter table") {
  ModelConfig c;
  c.user_id_hash_size = 7, c.item_id_hash_size = 9, c.user_id_embedding_dim = 3, c.item_id_embedding_dim = 4;
  c.user_features_size = 5, c.item_features_size = 6, c.hidden_size = 8, c.user_value_weights = {1, 1};
  c.history = true, c.attention_heads = 2, c.attention_layers = 2, c.history_actions = 3;
  c.debias = "position+user", c.light_ranker = c.distill = true, c.num_ranker_user_embeddings = 2, c.alignment = "kl";
  c.reward = "proxy", c.distill_towers = "points", c.learn_temperature = true;
  std::map<std::string, std::string> expected = {{"user_id_embedding_arch.weight", "[7, 3]"},
                                                 {"item_id_embedding_arch.weight", "[9, 4]"},
                                                 {"user_features_arch.0.weight", "[8, 5]"},
                                                 {"user_features_arch.0.bias", "[8]"},
                                                 {"user_features_arch.2.weight", "[3, 8]"},
                                                 {"user_features_arch.2.bias", "[3]"},
                                                 {"item_features_arch.0.weight", "[8, 6]"},
                                                 {"item_features_arch.0.bias", "[8]"},
                                                 {"item_features_arch.2.weight", "[4, 8]"},
                                                 {"item_features_arch.2.bias", "[4]"},
                                                 {"user_tower_arch.weight", "[4, 14]"},
                                                 {"user_tower_arch.bias", "[4]"},  // 2 DU + 2 DI
                                                 {"item_tower_arch.weight", "[4, 8]"},
                                                 {"item_tower_arch.bias", "[4]"},
                                                 {"user_history_encoder.fuse.weight", "[4, 8]"},
                                                 {"user_history_encoder.fuse.bias", "[4]"},
                                                 {"user_history_encoder.action_embedding.weight", "[3, 4]"},
                                                 {"position_bias_net_user_value.weight", "[100, 1]"},
                                                 {"user_debias_net_user_value.0.weight", "[1, 5]"},
                                                 {"user_debias_net_user_value.0.bias", "[1]"},
                                                 {"ranker_user_tower.weight", "[8, 14]"},
                                                 {"ranker_user_tower.bias", "[8]"},
                                                 {"light_ranker.weight", "[4, 11]"},
                                                 {"light_ranker.bias", "[4]"},  // [2T, 2 DI + NU + 1]
                                                 {"tower_distillation.scale", "[1]"},
                                                 {"tower_distillation.level.weight", "[1, 4]"},
                                                 {"tower_distillation.level.bias", "[1]"},
                                                 {"simple_ranker.weight", "[2, 9]"},
                                                 {"simple_ranker.bias", "[2]"},
                                                 {"log_temperature", "[1]"}};
  for (const char* layer : {"0", "1"}) {
    const std::string name = std::string("user_history_encoder.multihead_attn_layers.") + layer;
    expected[name + ".in_proj_weight"] = "[12, 4]", expected[name + ".in_proj_bias"] = "[12]";
    expected[name + ".out_proj.weight"] = "[4, 4]", expected[name + ".out_proj.bias"] = "[4]";
  }
  const TwoTower<float> model(c);
  CHECK(shapes(model.parameters()) == expected);
  for (const float p : values(model.parameters().find("position_bias_net_user_value.weight"))) CHECK(p == 1);

  c.debias = "user", c.distill = false, c.distill_towers = "margins", c.reward = "model";
  const TwoTower<float> other(c);
  for (const char* none : {"simple_ranker.weight", "tower_distillation.scale"})  // parts that these forms do without
    CHECK(shapes(other.parameters()).count(none) == 0);
  CHECK(shapes(other.parameters())["user_debias_net_user_value.0.weight"] == "[1, 4]");
  CHECK(shapes(other.parameters())["light_ranker.weight"] == "[2, 11]");
}
