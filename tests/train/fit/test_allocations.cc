// After two warm-up steps a training step allocates nothing.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/fit/training_step.h>

#include "tests/count_allocations.h"
#include "tests/models/bundle_fixtures.h"
#include "tests/train/evaluate/serving_fixtures.h"
#include "tests/train/fit/training_fixtures.h"

using namespace tt;

namespace {

// Allocations of three steps after two to warm up.
int64_t allocations_of_steps(const ModelConfig& config) {
  TwoTower<float> model(config, 4);
  if (config.alignment != "none") model.set_anchor();
  TrainConfig train;
  train.clip_norm = 1, train.ema = 0.999;
  TrainingStep step(model, train);
  step.watch_expected_value(config.alignment != "none");
  const testing::TinyBatch<float> tiny(config, 400);
  const testing::TinyLists<float> lists(config, 60);
  const auto steps = [&](int n) {
    for (int i = 0; i < n; ++i) {
      step.run(tiny.batch, 1e-3);
      if (config.needs_lists()) step.run(lists.batch, 1e-3);
    }
  };
  steps(2);
  return allocations_of([&] { steps(3); });
}

}  // namespace

TEST_CASE("the counter counts") {
  if (!kCounts) return;
  static char* volatile kept;  // or the compiler leaves the allocation out
  CHECK(allocations_of([] {
          kept = new char[100];
          delete[] kept;
        }) == 1);
  CHECK(allocations_of([] { AlignedBlock block(1000); }) == 1);
  CHECK(allocations_of([] {
          Pool pool;
          pool.allocate<float>(10);
        }) == 2);
  CHECK(allocations_of([] {}) == 0);
}

TEST_CASE("after two warm-up steps a training step allocates nothing") {
  if (!kCounts) return;
  for (const int threads : {1, 2, 4}) {  // with 4, many regions have fewer chunks than threads
    const testing::Threads scope(threads);
    for (const auto& entry : testing::training_configs()) {
      const std::string& name = entry.first;
      const ModelConfig& config = entry.second;
      INFO("model ", name, ", threads ", threads);
      CHECK(allocations_of_steps(config) == 0);
    }
  }
}

TEST_CASE("a loader with a queue and the steps that fill it allocate nothing once it is full") {
  if (!kCounts) return;
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(40, 30, 12));
  ModelConfig model = small_config(data);
  model.negative_queue = 90, model.mask_accidental_hits = false, model.log_q_correct_positive = true;
  TrainConfig train;
  train.batch_size = 60, train.prefetch = false;
  TwoTower<float> towers(model);
  Loader loader(data, model, train);
  TrainingStep step(towers, train, loader.queue());
  const auto run_epoch = [&](int64_t epoch) {
    loader.start_epoch(epoch);
    while (const Batch<float>* batch = loader.next()) step.run(*batch, 1e-3);
  };
  run_epoch(0);
  CHECK(allocations_of([&] { run_epoch(1); }) == 0);
}

TEST_CASE("a loader that has warmed up makes batches without allocating") {
  if (!kCounts) return;
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(40, 30, 12));
  ModelConfig model = small_config(data);
  model.mixed_negatives = 8, model.mask_accidental_hits = false;  // masks differ in size from batch to batch
  TrainConfig train;
  train.batch_size = 60, train.prefetch = false;
  Loader loader(data, model, train);
  const auto run_epoch = [&](int64_t epoch) {
    loader.start_epoch(epoch);
    while (loader.next()) {
    }
  };
  run_epoch(0);
  CHECK(allocations_of([&] { run_epoch(1); }) == 0);
}

TEST_CASE("a session that has warmed up recommends without allocating") {
  if (!kCounts) return;
  const testing::Threads one(1);
  for (const char* rung : {"base", "history", "kd"}) {
    INFO("rung ", rung);
    ModelConfig config = testing::rung_config(rung);
    config.user_id_hash_size = 60, config.item_id_hash_size = 300, config.num_mips_items = 50;
    testing::HandMade made(config, 60, 300);
    const TempFolder folder;
    const Bundle bundle = Bundle::open(made.write(folder));
    const Recommender recommender(bundle);
    // Items that came later, some of them gone: a call allocates only where they have changed since the last.
    LiveCatalog items(bundle);
    const Recommender live(bundle, items);
    const std::vector<std::string_view> added = {"n0", "n1", "n2"}, replaced = {"i4", "n1"}, removed = {"i5", "n2"};
    items.add(added, std::vector<float>(6, 0.5f));
    items.replace(replaced, std::vector<float>(4, 1.5f));
    items.remove(removed);
    const Filter some(recommender.catalog(), {.where = {{"genre", {"b"}}}}),
        most(items.snapshot(), {.without = {"i1", "n0"}});
    Session session;
    TopItems top;
    std::vector<ServedUser> users;
    for (int64_t u = 0; u < 60; ++u) users.push_back(recommender.known(u));
    const std::vector<NamedValue> features = {{"age", "30.5"}, {"town", "x"}};
    const std::vector<std::string_view> history = {"i7", "i2", "i9", "i4"}, exclude = {"i50"};
    const auto serve = [&] {
      recommender.recommend(session, "u9", {.k = 10}, top);
      recommender.recommend(session, "u14", {.k = 10, .among = &some}, top);
      recommender.recommend(session, {.features = features, .history = history, .exclude = exclude}, {.k = 10}, top);
      recommender.recommend(session, users, {.k = 10}, top);
      live.recommend(session, "u9", {.k = 10, .among = &most, .exclude = exclude}, top);
      live.recommend(session, {.features = features, .history = history, .exclude = exclude}, {.k = 10}, top);
      live.recommend(session, users, {.k = 10}, top);
    };
    serve(), serve();
    CHECK(allocations_of(serve) == 0);
  }
}
