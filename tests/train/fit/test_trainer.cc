// Training as a whole, on simulated logs small enough for a second or two.

#include <doctest/doctest.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/run/checkpoint.h>
#include <twotower/train/run/run.h>
#include <twotower/train/simulate/simulator.h>

#include <nlohmann/json.hpp>

#include "tests/train/evaluate/serving_fixtures.h"
#include "tests/train/fit/training_fixtures.h"
#include "tests/train/fixtures.h"

using namespace tt;

namespace {

namespace fs = std::filesystem;

// One dataset for all cases of this file.
const Dataset& simulated() {
  static const TempFolder folder;
  static const Dataset data = [] {
    SimulatorOptions options;
    options.users = 150, options.items = 120, options.impressions = 8000;
    simulate(folder.path() + "/data", options);
    return Dataset::open(folder.path() + "/data");
  }();
  return data;
}

RunConfig config_for(const std::string& rung, int64_t epochs) {
  RunConfig c;
  c.data = simulated().dir(), c.rung = rung;
  apply_rung(c.model, rung);
  c.model.user_id_embedding_dim = c.model.item_id_embedding_dim = 16, c.model.hidden_size = 32;
  c.model.attention_layers = 1, c.model.user_history_seqlen = 10;
  fit_config_to_data(c.model, simulated());
  c.train.batch_size = 256, c.train.epochs = epochs, c.train.learning_rate = 3e-3;
  c.model.reward_members = 2, c.train.reward_passes = 4, c.train.list_passes = 2;
  return c;
}

std::vector<nlohmann::json> log_of(const std::string& run) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(run + "/metrics.jsonl");
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

}  // namespace

TEST_CASE("trainer: learns more than chance, and leaves a run that opens") {
  const testing::Threads one(1);
  const TempFolder folder;
  const RunConfig config = config_for("base", 6);
  std::vector<std::string> lines;
  int64_t progress = 0;
  TrainOptions options;
  options.message = [&](const std::string& line) { lines.push_back(line); };
  options.progress = [&](const TrainProgress& p) {
    ++progress;
    CHECK(p.epochs == 6);
    CHECK(p.batch <= p.batches);
  };
  const TrainSummary summary = train(config, simulated(), folder.path() + "/run", options);
  CHECK(summary.epochs == 6);
  CHECK(lines.size() == 6);
  CHECK(progress == summary.steps);
  CHECK(summary.monitor == "recall@20");
  CHECK(summary.best > 1.5 * 20.0 / 120);  // 20 of 120 items by chance
  CHECK(summary.best == summary.best_measures["recall@20"]);

  const auto log = log_of(folder.path() + "/run");
  REQUIRE(log.size() == 6);
  CHECK(log[5]["loss"]["total"] < log[0]["loss"]["total"]);
  CHECK(log[static_cast<size_t>(summary.best_epoch - 1)]["valid"]["recall@20"] == summary.best);

  const Run run = open_run(folder.path() + "/run");  // the best epoch, measured again
  EvaluateOptions evaluate_options;
  evaluate_options.split = Split::valid, evaluate_options.baselines = false, evaluate_options.max_users = 2000;
  CHECK(evaluate(ServedDataset(run.bundle, run.data), evaluate_options).measures["recall@20"] ==
        doctest::Approx(summary.best));
  for (const auto& entry : fs::directory_iterator(folder.path() + "/run"))
    CHECK(entry.path().string().find(".tmp") == std::string::npos);
}

TEST_CASE("trainer: every rung trains, and says of each of its parts what it costs") {
  const testing::Threads one(1);
  for (const std::string& rung : rung_names()) {
    INFO("rung ", rung);
    const TempFolder folder;
    RunConfig config = config_for(rung, 2);
    config.model.log_q = "counts";  // an estimate that is still finding its level would move the loss's
    train(config, simulated(), folder.path() + "/run");
    const auto log = log_of(folder.path() + "/run");
    REQUIRE(log.size() == 2);
    CHECK(log[1]["loss"]["total"] < log[0]["loss"]["total"]);
    CHECK(log[0]["loss"].contains("debias") == (config.model.debias != "none"));
    CHECK(log[0]["loss"].contains("distillation") == config.model.distill);
    CHECK(log[0].contains("position_curve") == config.model.debias_position());
    CHECK(log[0].contains("reward") == (config.model.alignment != "none"));
    CHECK(log[0].contains("list_loss") == config.model.needs_lists());
    CHECK(fs::exists(folder.path() + "/run/reward.safetensors") == config.model.aligns_with_model());
    if (config.model.needs_lists()) {
      const auto& list_loss = log[1]["list_loss"];
      // An alignment's lists get harder as the policy's best do, so its loss may rise.
      if (config.model.aligns_with_model()) CHECK(log[1]["reward"] > log[0]["reward"]);
      if (list_loss.contains("towers")) CHECK(list_loss["towers"] < log[0]["list_loss"]["towers"]);
      CHECK(list_loss.contains("towers") == (config.model.distill_towers != "none"));
      CHECK(list_loss.contains("ranker") == config.model.distill);
      CHECK(list_loss.contains("alignment") == config.model.aligns_with_model());
    }
    const SafetensorsFile last = SafetensorsFile::open(folder.path() + "/run/last.safetensors");
    for (const std::string& name : last.names()) CHECK(!name.starts_with("anchor."));  // kl stays near no frozen copy
  }
}

TEST_CASE("trainer: stops when the measure has not got better for long enough") {
  const testing::Threads one(1);
  const TempFolder folder;
  RunConfig config = config_for("base", 50);
  config.train.learning_rate = 1e-20;  // never better than the first epoch
  config.train.patience = 3;
  const TrainSummary summary = train(config, simulated(), folder.path() + "/run");
  CHECK(summary.epochs == 4);
  CHECK(summary.best_epoch == 1);
  // It has stopped: resuming trains no epoch more, and makes a lost bundle anew of the best weights, not the last ones.
  const std::string run = folder.path() + "/run", best = read_whole_file(run + "/weights.safetensors");
  const std::string bundle = read_whole_file(run + "/bundle.safetensors");
  std::filesystem::remove(run + "/bundle.safetensors");
  TrainOptions again;
  again.resume = true;
  CHECK(train(config, simulated(), run, again).epochs == 4);
  CHECK((read_whole_file(run + "/weights.safetensors") == best));
  CHECK((read_whole_file(run + "/bundle.safetensors") == bundle));
  config.train.patience = 0, config.train.epochs = 6;
  CHECK(train(config, simulated(), folder.path() + "/run").epochs == 6);
  config.train.evaluate_every = 4;
  CHECK(train(config, simulated(), folder.path() + "/run").epochs == 6);
  const auto log = log_of(folder.path() + "/run");
  REQUIRE(log.size() == 6);  // of this training alone
  CHECK(!log[2].contains("valid"));
  CHECK(log[3].contains("valid"));
  CHECK(log[5].contains("valid"));  // the last one always
}

TEST_CASE("trainer: a resumed training ends with the bits of one that was never stopped") {
  const testing::Threads one(1);
  for (const std::string rung : {"base", "proxy", "queue"}) {
    const TempFolder folder;
    RunConfig config = config_for(rung == "proxy" ? "reward" : "base", 4);
    if (rung == "proxy") config.model.reward = "proxy";
    if (rung == "queue") config.model.negative_queue = 300;
    config.train.alignment_start_epoch = 1;  // by default a shorter training begins earlier
    if (config.model.alignment != "none") {
      config.model.alignment = "expected_reward", config.model.learn_temperature = true;
      config.train.ema = 0.98;
    }
    const TrainSummary whole = train(config, simulated(), folder.path() + "/whole");
    config.train.epochs = 2;
    train(config, simulated(), folder.path() + "/parts");
    config.train.epochs = 4;
    TrainOptions options;
    std::vector<std::string> lines;
    options.resume = true;
    options.message = [&](const std::string& line) { lines.push_back(line); };
    const TrainSummary resumed = train(config, simulated(), folder.path() + "/parts", options);
    REQUIRE(!lines.empty());
    CHECK(lines[0] == "resuming after epoch 2");
    CHECK(lines.size() == 3);
    CHECK(resumed.epochs == 4);
    CHECK(resumed.steps == whole.steps);
    CHECK(resumed.best_epoch == whole.best_epoch);
    CHECK(resumed.best == whole.best);
    CHECK(resumed.best_measures.all() == whole.best_measures.all());
    for (const std::string file :
         {"/last.safetensors", "/weights.safetensors", "/bundle.safetensors", "/state.safetensors", "/config.toml"}) {
      INFO(rung, file);
      const bool same =
          read_whole_file(folder.path() + "/whole" + file) == read_whole_file(folder.path() + "/parts" + file);
      CHECK(same);
    }
    CHECK(log_of(folder.path() + "/parts").size() == 4);
  }
}

TEST_CASE("trainer: weights and state of different epochs are not resumed from") {
  const testing::Threads one(1);
  const TempFolder folder;
  RunConfig config = config_for("base", 1);
  train(config, simulated(), folder.path() + "/one");
  config.train.epochs = 2;
  train(config, simulated(), folder.path() + "/two");
  // As a kill between the two writes leaves them.
  std::filesystem::copy_file(folder.path() + "/two/last.safetensors", folder.path() + "/one/last.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  TrainOptions options;
  options.resume = true;
  CHECK(error_of([&] { train(config, simulated(), folder.path() + "/one", options); }, folder.path() + "/one")
            .starts_with("[train FILE] cannot resume: last.safetensors and state.safetensors are of different epochs"));
}

TEST_CASE("trainer: resuming what would not end as an unstopped training is refused") {
  const testing::Threads one(1);
  const TempFolder folder;
  const std::string out = folder.path() + "/run";
  RunConfig config = config_for("reward", 2);
  config.model.reward = "proxy";
  config.train.batch_size = 2000;
  train(config, simulated(), out);
  const std::string before = read_whole_file(out + "/state.safetensors");
  const auto refusal = [&](auto change, const Dataset& data) {
    RunConfig now = config;
    change(now);
    TrainOptions options;
    options.resume = true;
    return error_of([&] { train(now, data, out, options); }, folder.path());
  };
  const std::string again = "; give the same options again, or train anew without --resume";
  CHECK(refusal([](RunConfig& c) { c.train.learning_rate = 0.01; }, simulated()) ==
        "[train FILE/run] cannot resume: it was trained with learning_rate = 0.003, this is "
        "learning_rate = 0.01" +
            again);
  CHECK(refusal([](RunConfig& c) { c.train.monitor = "recall@20"; }, simulated()) ==
        "[train FILE/run] cannot resume: it was trained with monitor = 'ips_recall@20', this is monitor = 'recall@20'" +
            again);
  CHECK(refusal([](RunConfig& c) { c.model.log_q = "none"; }, simulated()).find("this is log_q = 'none'") !=
        std::string::npos);
  CHECK(refusal([](RunConfig& c) { c.train.epochs = 4; }, simulated()) ==
        "[train FILE/run] cannot resume: alignment began after 1 epochs, this would have begun it after 3; set "
        "alignment_start_epoch = 1, or train anew without --resume");

  // The same users, items and numbers of rows, in another order.
  SimulatorOptions options;
  options.users = 150, options.items = 120, options.impressions = 8000, options.seed = 2;
  simulate(folder.path() + "/other", options);
  const Dataset other = Dataset::open(folder.path() + "/other");
  CHECK(
      refusal([](RunConfig&) {}, other) ==
      "[train FILE/run] cannot resume: the dataset FILE/other is not the one that it was trained on; give that one, or "
      "train anew without --resume");
  CHECK(read_whole_file(out + "/state.safetensors") == before);
  CHECK(refusal([](RunConfig& c) { c.train.patience = 3, c.train.evaluate_every = 2; }, simulated()) == "");

  config.model.alignment = "none", config.train.decay = "linear";
  train(config, simulated(), out);
  CHECK(refusal([](RunConfig& c) { c.train.epochs = 4; }, simulated()) ==
        "[train FILE/run] cannot resume: with decay = \"linear\" the learning rates so far were those of 2 epochs, "
        "this is "
        "4; give epochs = 2, or train anew without --resume");
}

TEST_CASE("trainer: what picks the best epoch goes by what the model debiases") {
  const testing::Threads one(1);
  for (const std::string& rung : rung_names()) {
    const TempFolder folder;
    RunConfig config = config_for(rung, 1);
    config.train.batch_size = 2000;
    const TrainSummary summary = train(config, simulated(), folder.path() + "/run");
    CHECK(summary.monitor == (config.model.needs_lists()       ? "logged_pairs"
                              : config.model.debias_position() ? "ips_recall@20"
                                                               : "recall@20"));
    CHECK(summary.best == summary.best_measures[summary.monitor]);
  }
}

TEST_CASE("trainer: resuming where nothing is begins at the start") {
  const TempFolder folder;
  TrainOptions options;
  options.resume = true;
  CHECK(train(config_for("base", 1), simulated(), folder.path() + "/run", options).epochs == 1);
}

TEST_CASE("trainer: what it refuses, it refuses before anything is written") {
  const TempFolder folder;
  const std::string out = folder.path() + "/run";
  const auto refusal = [&](auto change) {
    RunConfig config = config_for("base", 1);
    change(config);
    const std::string message = error_of([&] { train(config, simulated(), out); }, folder.path());
    CHECK(!fs::exists(out));
    return message;
  };
  CHECK(refusal([](RunConfig& c) { c.train.monitor = "recal@20"; }) ==
        "[config] train.monitor = \"recal@20\" is not a measure of this dataset; did you mean \"recall@20\"?");
  CHECK(refusal([](RunConfig& c) { c.train.epochs = 0; }) == "[config] train.epochs = 0; it must be at least 1");
  CHECK(refusal([](RunConfig& c) {
          c.model.debias = "gender";
        }).starts_with("[config] model.debias = \"gender\"; choose one of "));

  fs::create_directories(out);
  DatasetContent content = made_up_content(20, 25, 8);
  content.valid = content.test;
  const Dataset known = open_written(folder, content);
  RunConfig nobody = config_for("base", 1);
  nobody.model = small_config(known), nobody.train.monitor = "recall@20.cold_users";  // there are none
  CHECK(error_of([&] { train(nobody, known, out); }).starts_with("[evaluate] there is no measure \"recall@20.cold_"));
  CHECK(fs::is_empty(out));
  std::ofstream(out + "/thesis.txt") << "years of work";
  CHECK(error_of([&] { train(config_for("base", 1), simulated(), out); }, folder.path()) ==
        "[train FILE/run] the folder is not empty and holds no run; choose another --out");
  CHECK(fs::exists(out + "/thesis.txt"));
  CHECK(!fs::exists(out + "/config.toml"));
}

TEST_CASE("trainer: a run of another training is replaced") {
  const TempFolder folder;
  const std::string out = folder.path() + "/run";
  train(config_for("history", 1), simulated(), out);
  train(config_for("base", 1), simulated(), out);
  CHECK(open_run(out).config.rung == "base");
  CHECK(!open_run(out).bundle.config().history);
}

TEST_CASE("trainer: what the data does not have is said before training starts") {
  const TempFolder folder;
  DatasetContent content = tiny_content();
  for (InteractionColumns* split : {&content.train, &content.valid, &content.test})
    split->position.clear(), split->ranker_scores.clear();
  write_dataset(folder.path() + "/data", content);
  const Dataset data = Dataset::open(folder.path() + "/data");
  const auto message = [&](const std::string& rung) {
    ModelConfig config;
    apply_rung(config, rung);
    return error_of([&] { fit_config_to_data(config, data); }, folder.path());
  };
  CHECK(message("base") == "");
  CHECK(message("user") == "");
  CHECK(message("position") ==
        "[dataset FILE/data] it has no positions, which debias = \"position\" needs; use debias = \"user\" "
        "or \"none\", or import "
        "a position column");
  RunConfig distilled;
  distilled.data = data.dir();
  apply_rung(distilled, "kd");
  distilled.model.debias = "user", distilled.train.epochs = 1, distilled.train.list_passes = 1;
  fit_config_to_data(distilled.model, data);
  const std::string out = folder.path() + "/run";
  CHECK(error_of([&] { train(distilled, data, out); }, folder.path()) ==
        "[dataset FILE/data] it has no ranker scores, which distillation needs; import them with --ranker, give "
        "--ranker-pairs, or set distill = false, distill_towers = \"none\" and ranker_serves = \"labels\"");
  CHECK(!fs::exists(out));
  TrainOptions asked;
  asked.ranker_pairs = {{0, 0}, {1, 2}, {.5f, .25f, .1f, .9f}};
  train(distilled, data, out, asked);  // what the ranker says of pairs is enough
  CHECK(fs::exists(out + "/bundle.safetensors"));
  ModelConfig small;
  small.user_id_hash_size = 3;
  CHECK(error_of([&] { fit_config_to_data(small, data); }, folder.path()) ==
        "[dataset FILE/data] it needs model.user_id_hash_size >= 4, the config has 3");
}

TEST_CASE("run: a folder that is no run") {
  const TempFolder folder;
  CHECK(error_of([&] { open_run(folder.path()); }, folder.path()) ==
        "[run FILE] there is no config.toml; give a folder that `twotower train --out` wrote");
}
