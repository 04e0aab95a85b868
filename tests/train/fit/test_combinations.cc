// Options together, and data at the edge of nothing: a training either ends with numbers that are numbers, in a run
// that can be evaluated, or is refused in one line that names the option.

#include <doctest/doctest.h>
#include <twotower/tensor/random.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/run/run.h>
#include <twotower/train/simulate/simulator.h>

#include <cmath>

#include "tests/train/evaluate/serving_fixtures.h"
#include "tests/train/fit/training_fixtures.h"

using namespace tt;

namespace {

// Trains, opens the run and evaluates it; what is refused before training is returned.
std::string outcome(const RunConfig& config, const Dataset& data, const std::string& out) {
  RunConfig fitted = config;
  try {
    fit_config_to_data(fitted.model, data);
    const TrainSummary summary = train(fitted, data, out);
    CHECK(std::isfinite(summary.final_loss));
  } catch (const Error& error) {
    return error.what();
  }
  const Run run = open_run(out);
  for (const Parameter<float>* p : run.bundle.model().parameters().all())
    CHECK(std::all_of(p->value.begin(), p->value.end(), [](float x) { return std::isfinite(x); }));
  const ServedDataset served(run.bundle, data);
  for (const Split split : {Split::valid, Split::test}) {
    EvaluateOptions options;
    options.ks = default_ks(data.num_items(), fitted.model);
    options.split = split, options.include_seen = true, options.baselines = false;
    if (data.split(split).size == 0 || data.positives(split).items.empty()) continue;
    const Measures measures = evaluate(served, options).measures;
    for (const auto& [name, value] : measures.all()) CHECK_MESSAGE(std::isfinite(value), name);
  }
  TopItems top;
  const UserMoment users[] = {latest_moment(data, 0), {-1, 0}};
  Session session;
  const int64_t candidates = data.num_items() + 5;  // more than there are
  served.top(session, users, {.k = candidates, .candidates = served.has_light_ranker() ? candidates : 0}, nullptr, top);
  CHECK(top.counts[0] <= data.num_items());
  return "";
}

class Choices {
 public:
  explicit Choices(uint64_t trial) : random_(77, trial) {}
  template <class V>
  V of(std::initializer_list<V> values) {
    return values.begin()[random_.below(next_++, values.size())];
  }
  bool half() { return of({false, true}); }

 private:
  Philox random_;
  uint64_t next_ = 0;
};

RunConfig any_config(uint64_t trial, const std::string& data) {
  Choices c(trial);
  RunConfig r;
  r.data = data;
  ModelConfig& m = r.model;
  m.compat = c.of({"default", "default", "reference"});
  m.apply_compat();
  m.user_id_embedding_dim = c.of({8, 8, 6}), m.item_id_embedding_dim = c.of({8, 8, 4});
  m.hidden_size = 5, m.embedding_init = c.of({0.1, 1.0}), m.tower_head = c.of({"linear", "linear", "sum"});
  m.normalize = c.half(), m.learn_temperature = c.half(), m.temperature = c.of({1.0, 0.2});
  m.history = c.half(), m.user_history_seqlen = c.of({1, 3, 50}), m.attention_heads = c.of({1, 2});
  m.attention_layers = c.of({0, 1, 2}), m.transformer_blocks = c.half();
  m.positional_encoding = c.of({"standard", "doubled"}), m.history_actions = c.of({0, 0, 3});
  m.log_q = c.of({"stream", "counts", "none"}), m.log_q_correct_positive = c.half();
  m.mask_accidental_hits = c.of({true, true, false}), m.mask_user_positives = c.of({false, false, true});
  m.full_softmax = c.of({false, false, true});
  m.mixed_negatives = m.full_softmax ? 0 : c.of({0, 0, 7}),
  m.negative_queue = m.full_softmax ? 0 : c.of({0, 0, 40, 5000});
  m.hard_negatives = c.of({0, 0, 1, 100});
  m.debias = c.of({"none", "position", "user", "position+user"}), m.debias_gradient = c.half();
  m.debias_reduction = c.of({"mean", "sum"}), m.debias_cap = c.of({0.0, 1.0, 10.0});
  m.position_init = c.of({"one", "normal"}), m.light_ranker = c.half(), m.num_mips_items = c.of({1, 5, 1000});
  m.num_ranker_user_embeddings = c.of({1, 3}), m.ranker_value = c.of({"probability", "logit"});
  m.ranker_examination = c.half(), m.distill = m.light_ranker && c.half();
  m.alignment = c.of({"none", "none", "kl", "expected_reward", "dpo"}), m.alignment_weight = c.of({0.0, 0.1, 1.0});
  m.reward = c.of({"model", "proxy"}), m.alignment_fit_ranker = c.half();
  m.distill_towers = c.of({"none", "none", "points", "margins", "lists"});
  m.distill_towers_weight = c.of({0.0, 1.0, 10.0}), m.ranker_serves = m.distill ? c.of({"labels", "scores"}) : "labels";
  m.reward_members = c.of({1, 2}), m.reward_pessimism = c.of({0.0, 1.0}), m.reward_labels = c.of({0.0, 0.5});
  m.user_value_weights = c.of<std::vector<double>>({{1, 2, 3}, {0, 0, 1}, {1}});
  TrainConfig& t = r.train;
  t.batch_size = c.of({1000, 37, 37, 1}), t.epochs = c.of({1, 2, 3}), t.seed = static_cast<int64_t>(trial);
  if (t.batch_size == 1) t.epochs = 1;
  t.optimizer = c.of({"adam", "adagrad"}), t.learning_rate = 0.01, t.user_table_rate = c.of({1.0, 5.0});
  t.weight_decay = c.of({0.0, 0.01}), t.warmup_steps = c.of({0, 3}), t.decay = c.of({"none", "linear", "cosine"});
  t.clip_norm = c.of({0.0, 1.0}), t.ema = c.of({0.0, 0.9}), t.patience = c.of({0, 1});
  t.evaluate_every = c.of({1, 2}), t.rows = c.of({"auto", "auto", "all", "positive", "users"});
  t.user_weight_power = c.of({0.0, 1.0}), t.user_id_dropout = c.of({0.0, 0.3}), t.item_id_dropout = c.of({0.0, 0.5});
  t.list_users = c.of({100, 7}), t.list_impressions = c.of({0, 3}), t.list_passes = c.of({1, 2});
  t.list_policy = c.of({0, 5, 100}), t.list_uniform = c.of({0, 9, 100}), t.reward_passes = 2;
  t.dropout = c.of({0.0, 0.2}), t.alignment_start_epoch = c.of({0, 1}), t.prefetch = c.half();
  return r;
}

Dataset small_world(const TempFolder& folder) {
  SimulatorOptions options;
  options.users = 30, options.items = 24, options.impressions = 600;
  simulate(folder.path() + "/data", options);
  return Dataset::open(folder.path() + "/data");
}

}  // namespace

TEST_CASE("combinations: any options train to finite numbers, or are refused in one line") {
  const testing::Threads one(1);
  const TempFolder folder;
  const Dataset data = small_world(folder);
  int64_t trained = 0;
  for (uint64_t trial = 0; trial < 250; ++trial) {
    const RunConfig config = any_config(trial, data.dir());
    INFO("trial ", trial, "\n", to_toml(config));
    const std::string refused = outcome(config, data, folder.path() + "/run" + std::to_string(trial));
    if (refused.empty()) {
      ++trained;
      continue;
    }
    CHECK_MESSAGE(refused.starts_with("[config] "), refused);
    CHECK(refused.find('\n') == std::string::npos);
    CHECK_MESSAGE(refused.find("; ") != std::string::npos, refused);  // the mend
  }
  CHECK(trained > 90);
}

TEST_CASE("combinations: every rung on data at the edge of nothing") {
  const testing::Threads one(1);
  // One user and one item; one user; one item; a label that is never there; one label in all of training; a validation
  // split without any. Where all items were seen before, those are expected again.
  for (int kind = 0; kind < 6; ++kind)
    for (const std::string& rung : rung_names()) {
      INFO("kind ", kind, ", rung ", rung);
      const TempFolder folder;
      DatasetContent content = made_up_content(kind == 0 || kind == 1 ? 1 : 6, kind == 0 || kind == 2 ? 1 : 7, 5);
      for (InteractionColumns* split : {&content.train, &content.test}) {
        split->ranker_scores = split->labels;
        if (kind == 3)
          for (size_t i = 1; i < split->labels.size(); i += 2) split->labels[i] = 0;
      }
      if (kind == 4) {
        std::fill(content.train.labels.begin(), content.train.labels.end(), 0.0f);
        content.train.labels[3] = 1;
      }
      content.valid = content.test;
      if (kind == 5) std::fill(content.valid.labels.begin(), content.valid.labels.end(), 0.0f);
      const Dataset data = open_written(folder, content);
      RunConfig config;
      config.data = data.dir();
      apply_rung(config.model, rung);
      config.model.user_id_embedding_dim = config.model.item_id_embedding_dim = 4, config.model.attention_heads = 2;
      config.train.epochs = 3, config.train.alignment_start_epoch = 1, config.train.reward_passes = 3;
      CHECK(outcome(config, data, folder.path() + "/run") == "");
    }
}
