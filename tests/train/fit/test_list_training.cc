// Training on lists as part of a run: what it leaves behind, and going on from it.

#include <doctest/doctest.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/batches/training_rows.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/run/run.h>
#include <twotower/train/simulate/simulator.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "tests/train/fit/training_fixtures.h"
#include "tests/train/fixtures.h"

using namespace tt;

namespace {

namespace fs = std::filesystem;

const Dataset& world() {
  static const TempFolder folder;
  static const Dataset data = [] {
    SimulatorOptions options;
    options.users = 60, options.items = 50, options.impressions = 2000;
    simulate(folder.path() + "/data", options);
    return Dataset::open(folder.path() + "/data");
  }();
  return data;
}

RunConfig config_for(const std::string& rung, int64_t epochs) {
  RunConfig c;
  c.data = world().dir();
  apply_rung(c, rung);
  c.model.user_id_embedding_dim = c.model.item_id_embedding_dim = 8, c.model.hidden_size = 16;
  c.model.attention_heads = 2, c.model.attention_layers = 1, c.model.user_history_seqlen = 10;
  c.model.reward_members = 2;
  fit_config_to_data(c.model, world());
  c.train.batch_size = 400, c.train.epochs = epochs, c.train.decay = "none";
  c.train.list_users = 25, c.train.list_policy = 4, c.train.list_uniform = 6;
  c.train.list_passes = 2, c.train.reward_passes = 2, c.train.alignment_start_epoch = 1, c.train.patience = 0;
  return c;
}

// Stops as a Ctrl-C or a kill would, in the middle of epoch `epoch` (from 1).
void train_until(const RunConfig& config, const std::string& out, int64_t epoch) {
  struct Stopped {};
  TrainOptions options;
  options.progress = [&](const TrainProgress& p) {
    if (p.epoch == epoch && p.batch == 2) throw Stopped();
  };
  CHECK_THROWS_AS(train(config, world(), out, options), Stopped);
}

}  // namespace

TEST_CASE("list training: resumed after any epoch, a run ends with the bits of one that was never stopped") {
  const testing::Threads one(1);
  const std::pair<const char*, const char*> kinds[] = {
      {"kd", "none"}, {"reward", "kl"}, {"aligned", "kl"}, {"aligned", "dpo"}, {"reward", "expected_reward"}};
  for (const auto& [rung, alignment] : kinds) {
    const TempFolder folder;
    RunConfig config = config_for(rung, 3);
    config.model.alignment = alignment;
    TrainOptions resume;
    resume.resume = true;
    RankerPairs asked;
    add_ranker_pairs(asked, {{2, 9}, {5, 6}, {.1f, .2f, .3f, .4f, .5f, .6f}});
    TrainOptions given;
    given.ranker_pairs = asked;
    const TrainSummary whole = train(config, world(), folder.path() + "/whole", given);
    for (const int64_t stop : {2, 3}) {
      INFO(rung, ", ", alignment, ", stopped in epoch ", stop);
      const std::string parts = folder.path() + "/parts" + std::to_string(stop);
      struct Stopped {};
      TrainOptions stopping = given;
      stopping.progress = [&](const TrainProgress& p) {
        if (p.epoch == stop && p.batch == 2) throw Stopped();
      };
      CHECK_THROWS_AS(train(config, world(), parts, stopping), Stopped);
      const TrainSummary resumed = train(config, world(), parts, resume);
      CHECK(resumed.steps == whole.steps);
      CHECK(resumed.best == whole.best);
      for (const auto& entry : fs::directory_iterator(folder.path() + "/whole")) {
        const std::string file = entry.path().filename();
        if (file == "metrics.jsonl") continue;  // it holds seconds
        INFO(file);
        REQUIRE(fs::exists(parts + "/" + file));
        const bool same = read_whole_file(entry.path()) == read_whole_file(parts + "/" + file);
        CHECK(same);
      }
    }
  }
}

TEST_CASE("list training: a run is not resumed without the reward that it was aligned with") {
  const testing::Threads one(1);
  const TempFolder folder;
  const std::string out = folder.path() + "/run";
  train_until(config_for("reward", 3), out, 3);
  const std::string config = read_whole_file(out + "/config.toml"), state = read_whole_file(out + "/state.safetensors");
  fs::remove(out + "/reward.safetensors");
  TrainOptions resume;
  resume.resume = true;
  CHECK(error_of([&] { train(config_for("reward", 3), world(), out, resume); }, folder.path()) ==
        "[train FILE/run] cannot resume: reward.safetensors, the reward that it was aligned with, is gone; train anew "
        "without --resume");
  CHECK((read_whole_file(out + "/config.toml") == config));
  CHECK((read_whole_file(out + "/state.safetensors") == state));
}

TEST_CASE("list training: a run that is stopped before its first epoch leaves nothing, and an older one as it was") {
  const testing::Threads one(1);
  const TempFolder folder;
  const std::string out = folder.path() + "/run";
  train_until(config_for("aligned", 2), out, 1);
  CHECK(fs::is_empty(out));
  train(config_for("base", 1), world(), out);
  const std::string before = read_whole_file(out + "/bundle.safetensors");
  train_until(config_for("aligned", 2), out, 1);
  CHECK((read_whole_file(out + "/bundle.safetensors") == before));
  CHECK(!fs::exists(out + "/reward.safetensors"));
  train(config_for("reward", 2), world(), out);
  CHECK(fs::exists(out + "/reward.safetensors"));
  train(config_for("base", 1), world(), out);  // and an older one's reward goes with it
  CHECK(!fs::exists(out + "/reward.safetensors"));
}

TEST_CASE("list training: what was asked about counts as learnt") {
  const TempFolder folder;
  DatasetContent content = tiny_content();
  for (InteractionColumns* split : {&content.train}) {  // item 4 and user 2 are in no training row any more
    InteractionColumns kept;
    for (size_t r = 0; r < split->user.size(); ++r) {
      if (split->user[r] == 2) continue;
      kept.user.push_back(split->user[r]), kept.item.push_back(split->item[r]), kept.time.push_back(split->time[r]);
      kept.position.push_back(split->position[r]);
      for (size_t t = 0; t < 2; ++t) {
        kept.labels.push_back(split->labels[2 * r + t]);
        kept.ranker_scores.push_back(split->ranker_scores[2 * r + t]);
      }
    }
    *split = kept;
  }
  write_dataset(folder.path() + "/data", content);
  const Dataset data = Dataset::open(folder.path() + "/data");
  RankerPairs pairs;
  add_ranker_pairs(pairs, {{2}, {4}, {.5f, .5f}});
  const auto learnt = [&](const std::string& rung, const RankerPairs& asked, int64_t uniform) {
    RunConfig config;
    apply_rung(config, rung);
    fit_config_to_data(config.model, data);
    config.train.list_uniform = uniform;
    const LearntRows rows = learnt_rows(data, config.model, config.train, asked);
    return std::pair<int, int>(rows.users[2], rows.items[4]);
  };
  CHECK(learnt("kd", {}, 64) == std::pair(0, 0));
  CHECK(learnt("kd", pairs, 64) == std::pair(1, 1));
  CHECK(learnt("base", pairs, 64) == std::pair(0, 0));  // learns nothing from lists
  CHECK(learnt("reward", {}, 0) == std::pair(0, 0));
  CHECK(learnt("reward", pairs, 0) == std::pair(1, 1));
  CHECK(learnt("reward", {}, 64) == std::pair(0, 1));  // uniform draws meet every item
}

TEST_CASE("list training: says what the reward knows, and an epoch's line says what lists cost") {
  const testing::Threads one(1);
  const TempFolder folder;
  TrainOptions options;
  std::vector<std::string> lines;
  options.message = [&](const std::string& line) { lines.push_back(line); };
  RunConfig config = config_for("aligned", 2);
  train(config, world(), folder.path() + "/run", options);
  REQUIRE(lines.size() >= 4);
  CHECK(std::regex_match(lines[0], std::regex(R"(list_recency = (1|0\.4), reward_weight_decay = (0\.03|0\.3), )"
                                              "by what explains the validation split better")));
  CHECK(lines[1].starts_with("reward model: 2 members in "));
  CHECK(lines[1].find("% of a user's pairs as the ranker does") != std::string::npos);
  std::ifstream log(folder.path() + "/run/metrics.jsonl");
  std::string first, second;
  std::getline(log, first), std::getline(log, second);
  const auto before = nlohmann::json::parse(first), after = nlohmann::json::parse(second);
  CHECK(before["list_loss"]["alignment"] == 0);  // it begins with the second epoch
  CHECK(before["reward"] == 0);
  CHECK(after["list_loss"]["alignment"] > 0);
  const auto& parts = after["list_loss"];
  CHECK(parts["total"].get<double>() == doctest::Approx(parts["towers"].get<double>() + parts["ranker"].get<double>() +
                                                        parts["alignment"].get<double>()));
}

TEST_CASE("list training: who follows a poor reward too far is warned, and the model of an earlier epoch is kept") {
  const testing::Threads one(1);
  const TempFolder folder;
  SimulatorOptions simulated;
  simulated.users = 300, simulated.items = 200, simulated.impressions = 24000, simulated.seed = 3;
  simulate(folder.path() + "/data", simulated);
  const Dataset data = Dataset::open(folder.path() + "/data");
  const auto train_with = [&](double weight, int64_t reward_passes) {
    RunConfig config;
    config.data = data.dir();
    apply_rung(config, "reward");
    fit_config_to_data(config.model, data);
    config.model.alignment_weight = weight, config.model.reward_members = 1, config.model.reward_pessimism = 0;
    config.train.reward_passes = reward_passes, config.train.list_passes = 4, config.train.decay = "none";
    config.train.epochs = 5, config.train.alignment_start_epoch = 3, config.train.patience = 0;
    config.train.monitor = "label_pairs", config.train.seed = 3;
    TrainOptions options;
    int warnings = 0;
    options.message = [&](const std::string& line) { warnings += line.starts_with("warning: over-optimisation: "); };
    const TrainSummary summary = train(config, data, folder.path() + "/" + std::to_string(reward_passes), options);
    return std::pair(warnings, summary.best_epoch);
  };
  const auto [warnings, kept] = train_with(30, 1);  // a reward that has learnt nothing
  CHECK(warnings >= 1);
  CHECK(kept < 5);
  CHECK(train_with(1, 100).first == 0);
}
