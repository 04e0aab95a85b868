// The reward: an ensemble that learns the main ranker from what the log says of it.

#include <doctest/doctest.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/fit/reward.h>
#include <twotower/train/run/run.h>
#include <twotower/train/simulate/simulator.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "tests/train/fit/training_fixtures.h"
#include "tests/train/fixtures.h"

using namespace tt;

namespace {

const Dataset& world() {
  static const TempFolder folder;
  static const Dataset data = [] {
    SimulatorOptions options;
    options.users = 150, options.items = 120, options.impressions = 8000;
    simulate(folder.path() + "/data", options);
    return Dataset::open(folder.path() + "/data");
  }();
  return data;
}

RunConfig config_of(int64_t passes) {
  RunConfig c;
  apply_rung(c, "reward");
  fit_config_to_data(c.model, world());
  c.model.reward_members = 2, c.train.reward_passes = passes;
  return c;
}

// Its values of the validation split's lists.
std::vector<float> values_of(const Reward& reward, const RunConfig& config) {
  ListLoader lists(world(), config.model, {.split = Split::valid}, {});
  lists.start_pass(0);
  std::vector<float> all;
  Arena arena;
  while (const ListBatch<float>* batch = lists.next()) {
    const Tensor<const float> values = reward.values(*batch, arena);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("reward: learns the ranker well enough to order what it has not seen as the ranker does") {
  const testing::Threads one(1);
  const RunConfig config = config_of(100);
  int64_t steps = 0;
  double first = 0, last = 0;
  const Reward reward = Reward::train(world(), config, {}, [&](int64_t step, int64_t of, double loss) {
    CHECK(step == ++steps);
    CHECK(of == 2 * 100 * 2);  // members, passes, batches
    if (step == 1) first = loss;
    last = loss;
  });
  CHECK(steps == 400);
  CHECK(last < first / 4);
  const Reward::Check found = reward.check_against(world(), config.model, Split::valid);
  CHECK(found.pairs > 0.9);
  CHECK(found.explained > 0.8);
  CHECK(found.explained < 1);
  REQUIRE(found.logged.size() == 3);
  for (size_t t = 0; t < 3; ++t) {
    INFO("task ", t);
    CHECK(found.logged[t] > 0);
    CHECK(std::abs(found.predicted[t] - found.logged[t]) < 0.2 * found.logged[t]);
  }
}

TEST_CASE("reward: a function of data, config and seed, on any number of threads, and comes back from its file") {
  const RunConfig config = config_of(3);
  const auto trained = [&](int threads, int64_t seed) {
    const testing::Threads scope(threads);
    RunConfig c = config;
    c.train.seed = seed;
    return Reward::train(world(), c, {});
  };
  const Reward one = trained(1, 1);
  const std::vector<float> values = values_of(one, config);
  CHECK(same_bits(values, values_of(trained(2, 1), config)));
  CHECK(!same_bits(values, values_of(trained(1, 2), config)));
  const TempFolder folder;
  const std::string path = folder.path() + "/reward.safetensors";
  one.save(path);
  CHECK(same_bits(values, values_of(Reward::load(path, world(), config.model), config)));
  ModelConfig other = config.model;
  other.history = false;
  CHECK(error_of([&] { Reward::load(path, world(), other); }, folder.path()).find('\n') == std::string::npos);
  other = config.model, other.reward_members = 3;
  CHECK(error_of([&] { Reward::load(path, world(), other); }, path).starts_with("[checkpoint FILE] "));
}

TEST_CASE("reward: where its members differ, the pessimistic value is lower, by so many times their spread") {
  const testing::Threads one(1);
  RunConfig config = config_of(3);
  const TempFolder folder;
  const std::string path = folder.path() + "/reward.safetensors";
  Reward::train(world(), config, {}).save(path);
  const auto values = [&](double pessimism) {
    ModelConfig model = config.model;
    model.reward_pessimism = pessimism;
    return values_of(Reward::load(path, world(), model), config);
  };
  const std::vector<float> mean = values(0), half = values(0.5), whole = values(1);
  double lower = 0;
  for (size_t k = 0; k < mean.size(); ++k) {
    REQUIRE(half[k] <= mean[k]);
    CHECK(mean[k] - whole[k] == doctest::Approx(2 * (mean[k] - half[k])).epsilon(1e-3));
    lower += half[k] < mean[k];
  }
  CHECK(lower > 0.99 * static_cast<double>(mean.size()));
  config.model.reward_members = 1;  // nobody to differ from
  const Reward alone = Reward::train(world(), config, {});
  config.model.reward_pessimism = 0;
  CHECK(same_bits(values_of(alone, config), values_of(Reward::train(world(), config, {}), config)));
}

TEST_CASE("reward: pairs that were asked about teach it") {
  const testing::Threads one(1);
  const RunConfig config = config_of(30);
  // The ranker says that user 3 loves item 7 and nobody else's word is heard of it.
  RankerPairs pairs;
  add_ranker_pairs(pairs, {{3}, {7}, {.99f, .99f, .99f}});
  const auto value = [&](const Reward& reward) {
    ListLoader lists(world(), config.model, {}, pairs);
    lists.start_pass(0);
    Arena arena;
    while (const ListBatch<float>* batch = lists.next()) {
      const Tensor<const float> values = reward.values(*batch, arena);
      for (int64_t i = 0; i < batch->size(); ++i)
        for (int64_t k = batch->lists.offsets[i]; k < batch->lists.offsets[i + 1]; ++k)
          if (batch->user.id[i] == 3 && batch->item.id[batch->lists.columns[k]] == 7) return values[k];
    }
    return std::nanf("");
  };
  CHECK(value(Reward::train(world(), config, pairs)) > value(Reward::train(world(), config, {})) + 0.5f);
}

TEST_CASE("reward: where the split has no logged scores there is nothing to check it by") {
  const testing::Threads one(1);
  const TempFolder folder;
  DatasetContent content = tiny_content();
  for (InteractionColumns* split : {&content.train, &content.valid, &content.test}) split->ranker_scores.clear();
  write_dataset(folder.path() + "/data", content);
  const Dataset data = Dataset::open(folder.path() + "/data");
  RunConfig config;
  apply_rung(config, "reward");
  fit_config_to_data(config.model, data);
  config.train.reward_passes = 3;
  CHECK(!choose_for_lists(data, config, {}).has_value());
  CHECK(config.train.list_recency == 0);  // nothing was compared, so nothing is said to be better
  CHECK(config.train.reward_weight_decay == -1);
  const Reward reward = Reward::train(data, config, {});  // from labels
  CHECK(reward.check_against(data, config.model, Split::valid).logged.empty());
}

TEST_CASE(
    "reward: the weight decay is the stronger one where the logged scores are noisy, and what chose it is reused") {
  const testing::Threads one(1);
  const TempFolder folder;
  const auto chosen = [&](double noise) {
    SimulatorOptions options;
    options.users = 150, options.items = 120, options.impressions = 8000, options.score_noise = noise;
    const std::string path = folder.path() + "/" + std::to_string(noise);
    simulate(path, options);
    const Dataset data = Dataset::open(path);
    RunConfig config = config_of(200);
    config.train.list_recency = 1;
    std::optional<Reward> first = choose_for_lists(data, config, {});
    REQUIRE(first.has_value());
    CHECK(!choose_for_lists(data, config, {}).has_value());  // nothing is open any more
    const auto saved = [&](std::optional<Reward> begin) {
      const std::string file = folder.path() + "/reward.safetensors";
      Reward::train(data, config, {}, {}, std::move(begin)).save(file);
      return read_whole_file(file);
    };
    CHECK(saved(std::move(first)) == saved({}));
    return config.train.reward_weight_decay;
  };
  CHECK(chosen(0) == 0.03);
  CHECK(chosen(1.5) == 0.3);
}

TEST_CASE("reward: what was asked takes no part in the choice; a model without alignment keeps its weight decay open") {
  const testing::Threads one(1);
  RankerPairs asked;
  add_ranker_pairs(asked, {{3}, {7}, {.99f, .99f, .99f}});
  RunConfig plain = config_of(20), with_pairs = plain;
  CHECK(choose_for_lists(world(), plain, {}).has_value());
  CHECK(!choose_for_lists(world(), with_pairs, asked).has_value());  // its first member must learn from the pairs
  CHECK(plain.train.list_recency > 0);
  CHECK(with_pairs.train.list_recency == plain.train.list_recency);
  CHECK(with_pairs.train.reward_weight_decay == plain.train.reward_weight_decay);
  RunConfig kd = config_of(20);
  kd.model.alignment = "none", kd.model.distill_towers = "margins";
  CHECK(!choose_for_lists(world(), kd, {}).has_value());
  CHECK(kd.train.list_recency == plain.train.list_recency);
  CHECK(kd.train.reward_weight_decay == -1);
}
