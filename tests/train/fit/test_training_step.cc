// One step of training: what it refuses, and that its bits do not depend on the number of threads.

#include <doctest/doctest.h>
#include <twotower/train/fit/training_step.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/models/fixtures.h"
#include "tests/train/fit/training_fixtures.h"
#include "tests/train/fixtures.h"

using namespace tt;

namespace {

// Losses of some steps, then all parameters.
std::vector<float> run_steps(const ModelConfig& config, int threads) {
  const testing::Threads scope(threads);
  TwoTower<float> model(config, 4);
  if (config.alignment != "none") model.set_anchor();
  TrainConfig train;
  train.clip_norm = 1;
  TrainingStep step(model, train);
  const testing::TinyBatch<float> batches[] = {testing::TinyBatch<float>(config, 700, 1),
                                               testing::TinyBatch<float>(config, 650, 2)};
  std::vector<float> numbers;
  for (int i = 0; i < 4; ++i) numbers.push_back(static_cast<float>(step.run(batches[i % 2].batch, 1e-2).total));
  if (config.needs_lists()) {
    const testing::TinyLists<float> lists(config, 90);
    for (int i = 0; i < 3; ++i) numbers.push_back(static_cast<float>(step.run(lists.batch, 1e-2).total));
  }
  for (const Parameter<float>* p : model.parameters().all())
    numbers.insert(numbers.end(), p->value.begin(), p->value.end());
  return numbers;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> parameters_of(const TwoTower<float>& model) {
  std::vector<float> all;
  for (const Parameter<float>* p : model.parameters().all()) all.insert(all.end(), p->value.begin(), p->value.end());
  return all;
}

}  // namespace

TEST_CASE("training step: the same bits on 1 and 2 threads, every rung and option") {
  for (const auto& entry : testing::training_configs()) {
    const std::string& name = entry.first;
    const ModelConfig& config = entry.second;
    INFO("model ", name);
    const std::vector<float> one = run_steps(config, 1), two = run_steps(config, 2), three = run_steps(config, 3);
    for (int i = 0; i < 4; ++i) CHECK(one[static_cast<size_t>(i)] == two[static_cast<size_t>(i)]);
    CHECK(std::isfinite(one[0]));
    CHECK(one[0] != one[2]);  // it trains
    CHECK(same_bits(one, two));
    CHECK(same_bits(one, three));
  }
}

TEST_CASE("training step: on one batch the loss goes down, and its parts make up the total") {
  const testing::Threads one(1);
  for (const auto& entry : testing::training_configs()) {
    const std::string& name = entry.first;
    const ModelConfig& config = entry.second;
    INFO("model ", name);
    if (config.negative_queue > 0) continue;  // another loss each step
    TwoTower<float> model(config, 4);
    if (config.alignment != "none") model.set_anchor();
    TrainingStep step(model, {});
    const testing::TinyBatch<float> tiny(config, 60);
    const StepLosses first = step.run(tiny.batch, 5e-3);
    StepLosses last;
    for (int i = 0; i < 60; ++i) last = step.run(tiny.batch, 5e-3);
    CHECK(last.total < first.total);
    CHECK(first.total == doctest::Approx(first.retrieval + first.debias + first.ranker + first.distillation +
                                         first.proxy + first.alignment));
    CHECK((first.debias != 0) == (config.debias != "none"));
    CHECK((first.ranker != 0) == config.light_ranker);
    CHECK((first.distillation != 0) == config.distill);
    CHECK((first.proxy != 0) == config.aligns_with_proxy());
  }
}

TEST_CASE("training step: on one batch of lists the loss goes down, and its parts make up the total") {
  const testing::Threads one(1);
  for (const auto& entry : testing::training_configs()) {
    const ModelConfig& config = entry.second;
    if (!config.needs_lists()) continue;
    INFO("model ", entry.first);
    TwoTower<float> model(config, 4);
    model.set_anchor();
    TrainingStep step(model, {});
    const testing::TinyLists<float> lists(config, 30);
    const ListLosses first = step.run(lists.batch, 5e-3);
    ListLosses last;
    for (int i = 0; i < 60; ++i) last = step.run(lists.batch, 5e-3);
    CHECK(last.total < first.total);
    CHECK(first.total == doctest::Approx(first.towers + first.ranker + first.alignment));
    CHECK((first.towers != 0) == (config.distill_towers != "none"));
    CHECK((first.ranker != 0) == config.distill);
    CHECK((first.alignment != 0) == config.aligns_with_model());
    if (config.aligns_with_model()) CHECK(last.reward > first.reward);  // the policy moves to what is worth more
  }
}

TEST_CASE("training step: lists before alignment begins teach what else they teach, or leave all as it is") {
  ModelConfig config = testing::rung_config("reward");
  TwoTower<float> model(config, 4);
  TrainingStep step(model, {});
  const testing::TinyLists<float> lists(config, 5);
  const std::vector<float> before = parameters_of(model);
  CHECK(step.run(lists.batch, 1e-2, /*alignment_on=*/false).total == 0);
  CHECK(same_bits(parameters_of(model), before));
  CHECK(step.optimizer().steps() == 0);
  config.distill_towers = "lists";
  TwoTower<float> distilled(config, 4);
  TrainingStep own(distilled, {});
  const ListLosses losses = own.run(lists.batch, 1e-2, /*alignment_on=*/false);
  CHECK(losses.total == losses.towers);
  CHECK(losses.alignment == 0);
  CHECK(own.optimizer().steps() == 1);
}

TEST_CASE("training step: a loss that is not a number is refused, and nothing is changed") {
  const ModelConfig config = testing::rung_config("base");
  TwoTower<float> model(config, 4);
  TrainingStep step(model, {});
  const testing::TinyBatch<float> tiny(config);
  step.run(tiny.batch, 1e-3);
  const std::vector<float> before = parameters_of(model);

  std::vector<float> labels(tiny.batch.labels.begin(), tiny.batch.labels.end());
  labels[3] = std::numeric_limits<float>::quiet_NaN();
  Batch<float> bad = tiny.batch;
  bad.labels = {labels.data(), tiny.batch.labels.shape()};
  const std::string message = error_of([&] { step.run(bad, 1e-3); });
  CHECK((message == "[train] the loss of step 2 is nan; lower learning_rate, or set clip_norm = 1" ||
         message == "[train] the loss of step 2 is -nan; lower learning_rate, or set clip_norm = 1"));
  CHECK(same_bits(parameters_of(model), before));
  CHECK(step.optimizer().steps() == 1);
  step.run(tiny.batch, 1e-3);  // and goes on
  CHECK(step.optimizer().steps() == 2);

  model.parameters().find("user_tower_arch.bias")->value[0] = std::numeric_limits<float>::infinity();
  CHECK(error_of([&] { step.run(tiny.batch, 1e-3); }).starts_with("[train] the loss of step 3 is "));
}

TEST_CASE("training step: a queue of item vectors fills up to its size and no further") {
  ModelConfig config = testing::rung_config("base");
  config.log_q = "none", config.mask_accidental_hits = false;
  const testing::TinyBatch<float> tiny(config, 5);
  config.negative_queue = 8;
  TwoTower<float> model(config, 4);
  NegativeQueue queue(8, config.item_id_embedding_dim, 5);
  TrainingStep step(model, {}, &queue);
  Arena arena;
  for (const int64_t columns : {5, 10, 13, 13}) {
    Batch<float> batch = tiny.batch;
    batch.queue.id = queue.ids(arena);
    queue.announce(batch.item.id.data(), 5);
    step.run(batch, 1e-3);
    int64_t found = 0;  // columns that the softmax met: the second input of its node
    for (const Node<float>* node : step.tape().nodes())
      if (node->op && std::string(node->op->name) == "in_batch_softmax") found = node->inputs[1]->value.rows();
    CHECK(found == columns);
  }
}

TEST_CASE("training step: the proxy's value of the policy is watched on demand") {
  ModelConfig config = testing::rung_config("reward");
  config.reward = "proxy";
  TwoTower<float> model(config, 4);
  TrainingStep step(model, {});
  const testing::TinyBatch<float> tiny(config);
  step.run(tiny.batch, 1e-3);
  CHECK(step.expected_value() == 0);
  step.watch_expected_value(true);
  step.run(tiny.batch, 1e-3);
  CHECK(step.expected_value() != 0);
}

TEST_CASE("training step: batches that do not fit the model are refused") {
  ModelConfig config = testing::rung_config("kd");
  config.distill_towers = "none", config.debias = "position", config.mixed_negatives = 2, config.negative_queue = 3;
  TwoTower<float> model(config, 4);
  TrainingStep step(model, {});
  const testing::TinyBatch<float> tiny(config);
  const auto refusal = [&](auto change) {
    Batch<float> batch = tiny.batch;
    change(batch);
    return error_of([&] { step.run(batch, 1e-3); });
  };
  using B = Batch<float>;
  CHECK(refusal([](B&) {}) == "");
  CHECK(refusal([](B& b) { b.user.id = {}; }) == "[model] the batch is empty");
  CHECK(refusal([](B& b) { b.item.id = {b.item.id.data(), {3}}; }) == "[model] item_id has 3 rows, user_id has 5");
  CHECK(refusal([](B& b) {
          b.labels = {b.labels.data(), {5, 1}};
        }) == "[model] labels have shape [5, 1]; user_value_weights ask for [5, 2]");
  CHECK(refusal([](B& b) { b.value = {b.labels.data(), {4}}; }) == "[model] value has 4 rows, user_id has 5");
  CHECK(refusal([](B& b) {
          b.ranker_scores = {b.ranker_scores.data(), {5, 1}};
        }) == "[model] ranker_scores have shape [5, 1]; user_value_weights ask for [5, 2]");
  CHECK(
      refusal([](B& b) { b.ranker_scores = {}; }) ==
      "[distill] the batch has no \"ranker_scores\"; distillation learns from them: give them, or set distill = false");
  CHECK(refusal([](B& b) { b.position = {}; }) ==
        "[debias] the model debiases by position, and the batch has no \"position\" column");
  const int32_t slots[] = {0, 1, -2, 0, 6};
  CHECK(refusal([&](B& b) {
          b.position = {slots, {5}};
        }) == "[debias] position -2 in row 2; positions count from 0, and -1 stands for an unknown one");
  CHECK(refusal([](B& b) {
          b.candidates.log_q = {b.candidates.log_q.data(), {4}};
        }) == "[model] log_q has 4 entries for 10 columns");
  const int64_t far[] = {0, 1, 2, 0, 6}, low[] = {0, 1, 2, 0, -2};
  CHECK(refusal([&](B& b) { b.user.id = {far, {5}}; }).starts_with("[embedding] id 6 at position 4"));
  CHECK(refusal([&](B& b) { b.user.id = {low, {5}}; }).starts_with("[embedding] id -2 at position 4"));

  CHECK(refusal([](B& b) {
          b.user.features = {b.user.features.data(), {5, 2}};
        }) == "[user tower] the features have shape [5, 2]; the model reads [5, 3]");
  CHECK(refusal([](B& b) { b.item.features = {}; }) ==
        "[item tower] the features have shape []; the model reads [5, 2]");
  CHECK(refusal([](B& b) {
          b.negatives.features = {b.negatives.features.data(), {1, 2}};
        }) == "[item tower] the features have shape [1, 2]; the model reads [2, 2]");
  const int64_t late[] = {1, 3, 7, 8, 10, 10}, falls[] = {0, 3, 2, 8, 9, 10};
  REQUIRE(tiny.batch.user.history_offsets[5] == 10);
  CHECK(refusal([](B& b) {
          b.user.history_offsets = {b.user.history_offsets.data(), {5}};
        }) == "[user tower] history_offsets hold 5 numbers for 5 users; there must be one more than users");
  CHECK(refusal([&](B& b) {
          b.user.history_offsets = {late, {6}};
        }) == "[user tower] history_offsets run from 1 to 10; they must run from 0 to the number of history_items, 10");
  CHECK(refusal([](B& b) {
          b.user.history_items = {b.user.history_items.data(), {9}};
        }) == "[user tower] history_offsets run from 0 to 10; they must run from 0 to the number of history_items, 9");
  CHECK(refusal([&](B& b) {
          b.user.history_offsets = {falls, {6}};
        }) == "[user tower] history_offsets fall from 3 to 2 at user 1; they must not fall");
  CHECK(refusal([](B& b) {
          b.queue.vectors = {b.queue.vectors.data(), {2, 4}};
        }) == "[model] the queue has vectors of shape [2, 4] for 3 items of width 4");
}

TEST_CASE("training step: targets outside the corpus are refused") {
  ModelConfig config = testing::rung_config("base");
  config.full_softmax = true;
  TwoTower<float> model(config, 4);
  TrainingStep step(model, {});
  testing::TinyBatch<float> tiny(config);
  for (const int64_t far : {int64_t{9}, int64_t{-1}}) {
    const int64_t targets[] = {0, 1, far, 2, 3};
    tiny.batch.candidates.target = {targets, {5}};
    CHECK(error_of([&] { step.run(tiny.batch, 1e-3); }) ==
          "[model] target " + std::to_string(far) + " in row 2; the columns are 0 to 8");
  }
  tiny.batch.candidates.target = {};
  CHECK(error_of([&] { step.run(tiny.batch, 1e-3); }) ==
        "[model] target has 0 rows, user_id has 5; full_softmax needs each row's positive among all items");
}
