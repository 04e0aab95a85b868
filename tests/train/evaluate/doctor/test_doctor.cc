// The doctor tells a model that has collapsed from one that is well.

#include <doctest/doctest.h>
#include <twotower/train/evaluate/doctor/doctor.h>
#include <twotower/train/evaluate/text_table.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/run/checkpoint.h>
#include <twotower/train/simulate/simulator.h>

#include <algorithm>
#include <cmath>

#include "tests/train/evaluate/serving_fixtures.h"
#include "tests/train/fit/training_fixtures.h"

using namespace tt;

namespace {

const Finding& finding(const std::vector<Finding>& all, const std::string& what) {
  const auto at =
      std::find_if(all.begin(), all.end(), [&](const Finding& f) { return f.what.find(what) != std::string::npos; });
  REQUIRE(at != all.end());
  return *at;
}

bool says(const Finding& f, const std::string& words) { return f.found.find(words) != std::string::npos; }

std::vector<Finding> examined(const TwoTower<float>& model, const Dataset& data) {
  EvaluateOptions options;
  options.ks = {10}, options.truth = false;
  const ServedDataset served(model, data);
  return examine(served, evaluate(served, options), options);
}

}  // namespace

TEST_CASE("doctor: a trained model is well, the same model collapsed is not") {
  const testing::Threads one(1);
  const TempFolder folder;
  SimulatorOptions options;
  options.users = 150, options.items = 120, options.impressions = 8000;
  simulate(folder.path() + "/data", options);
  const Dataset data = Dataset::open(folder.path() + "/data");
  RunConfig config;
  config.data = data.dir();
  config.model.user_id_embedding_dim = config.model.item_id_embedding_dim = 16, config.model.hidden_size = 32;
  fit_config_to_data(config.model, data);
  config.train.batch_size = 256, config.train.epochs = 6, config.train.learning_rate = 3e-3;
  train(config, data, folder.path() + "/run");
  TwoTower<float> model(config.model);
  load_model(folder.path() + "/run/weights.safetensors", model);

  for (const Finding& f : examined(model, data)) {
    INFO(f.what, ": ", f.found);
    CHECK(f.healthy == f.advice.empty());
    if (f.what.find("popularity") == std::string::npos) CHECK(f.healthy);  // so small a log is all head
  }

  model.parameters().find("item_tower_arch.weight")->value.fill(0);
  model.parameters().find("user_tower_arch.weight")->value.fill(0);
  const std::vector<Finding> ill = examined(model, data);
  for (const char* what : {"spread of user vectors", "spread of item vectors", "very vector of another"}) {
    INFO(what, ": ", finding(ill, what).found);
    CHECK(!finding(ill, what).healthy);
    CHECK(!finding(ill, what).advice.empty());
  }
  CHECK(says(finding(ill, "very vector of another"), "that have a training positive"));
  CHECK(says(finding(ill, "spread of item vectors"), "mean cosine of two of them 1.000"));

  model.parameters().find("item_tower_arch.bias")->value.fill(1e38f);
  CHECK(says(finding(examined(model, data), "length of item vectors"), "not finite"));
}

TEST_CASE("doctor: items that training never met and that look alike are told apart from the others") {
  const TempFolder folder;
  DatasetContent content = made_up_content(60, 50, 6);
  for (int i = 0; i < 5; ++i) {  // more that nobody meets, of the same features
    content.item_ids.push_back("new" + std::to_string(i));
    content.item_features.values.insert(content.item_features.values.end(), {0.5f, 1});
  }
  content.item_features.rows = 55;
  const Dataset data = open_written(folder, content);
  const std::vector<Finding> all = examined(TwoTower<float>(small_config(data)), data);
  const int64_t cold = std::count(data.train_positives(), data.train_positives() + 55, 0);
  const Finding& f = finding(all, "without a training positive");
  INFO(f.found);
  CHECK(says(f, std::to_string(cold) + " of 55; 4 of " + std::to_string(cold)));
  CHECK(finding(all, "very vector of another").healthy);
  CHECK(f.healthy == (4 * 2 <= cold && cold * 4 <= 55));
}

TEST_CASE("doctor: log Q is told with its range, and with what training does about it") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(200, 60, 20));
  const auto log_q = [&](auto set) {
    ModelConfig config = small_config(data);
    set(config);
    return finding(examined(TwoTower<float>(config), data), "log Q");
  };
  const Finding well = log_q([](ModelConfig&) {});
  CHECK(well.healthy);
  CHECK(says(well, "log_q = \"stream\" corrects for it"));
  int64_t most = 0, least = 1 << 30, total = 0;
  for (int64_t i = 0; i < 60; ++i) {
    const int64_t n = data.train_positives()[i];
    total += n, most = std::max(most, n);
    if (n > 0) least = std::min(least, n);
  }
  CHECK(says(well, decimals(std::log(static_cast<double>(least) / static_cast<double>(total)), 2) + " to "));
  const Finding none = log_q([](ModelConfig& c) { c.log_q = "none"; });
  CHECK(none.healthy == (most <= 10 * least));
  CHECK(says(none, "does not correct"));
  CHECK(!log_q([](ModelConfig& c) { c.log_q_correct_positive = true; }).healthy);
  CHECK(log_q([](ModelConfig& c) { c.log_q = "none", c.full_softmax = true; }).healthy);
}
