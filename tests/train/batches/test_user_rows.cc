// rows = "users": each user once an epoch with all positives, and the same training as with a row an
// impression.

#include <doctest/doctest.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/fit/training_step.h>

#include <cmath>
#include <set>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

ModelConfig full_softmax(const Dataset& data) {
  ModelConfig model = small_config(data);
  model.full_softmax = true;
  return model;
}

}  // namespace

TEST_CASE("user rows: each user once an epoch, with all positives") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(37, 23, 9));
  TrainConfig train;
  train.rows = "users", train.batch_size = 10, train.prefetch = false, train.user_id_dropout = 0,
  train.user_weight_power = 0.5;
  Loader loader(data, full_softmax(data), train);
  CHECK(loader.rows() == 37);
  CHECK(loader.batches_per_epoch() == 4);
  const UserItems positives = data.positives(Split::train);
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::multiset<int64_t> users;
    loader.start_epoch(epoch);
    while (const Batch<float>* b = loader.next()) {
      CHECK(b->negatives.id.numel() == 23);
      const Positives& p = b->candidates.positives;
      for (int64_t i = 0; i < b->size(); ++i) {
        users.insert(b->user.id[i]);
        const auto want = positives.of(b->user.id[i]);
        REQUIRE(p.offsets[i + 1] - p.offsets[i] == static_cast<int64_t>(want.size()));
        for (size_t k = 0; k < want.size(); ++k) CHECK(p.columns[p.offsets[i] + static_cast<int64_t>(k)] == want[k]);
        CHECK(b->value[i] == doctest::Approx(std::sqrt(static_cast<double>(want.size()))));
        CHECK(b->labels.numel() == 0);  // a row's weight is no label
      }
    }
    CHECK(users.size() == 37);
    CHECK(std::set<int64_t>(users.begin(), users.end()).size() == 37);
  }
}

// One batch of everything: the loss differs by the weight that scales it to the batch's largest, and nothing
// else.
TEST_CASE("user rows: the loss of a row an impression") {
  const TempFolder folder;
  DatasetContent content = made_up_content(12, 40, 6);
  for (float& label : content.train.labels) label = 1;
  const Dataset data = open_written(folder, content);
  ModelConfig model = full_softmax(data);
  bool masked = false;
  SUBCASE("") {}
  SUBCASE("the user's other positives masked") { masked = true; }
  model.mask_user_positives = masked;
  TwoTower<float> towers(model, 5);
  const UserItems positives = data.positives(Split::train);
  double loss[2] = {}, most = 0, total = 0;
  for (int64_t u = 0; u < 12; ++u) {
    most = std::max(most, static_cast<double>(positives.of(u).size()));
    total += static_cast<double>(positives.of(u).size());
  }
  for (const bool users : {false, true}) {
    TrainConfig train;
    train.batch_size = 1000, train.prefetch = false, train.user_id_dropout = 0,
    train.rows = users ? "users" : "positive";
    Loader loader(data, model, train);
    loader.start_epoch(0);
    const Batch<float>* batch = loader.next();
    Arena arena;
    Tape<float> tape(arena);
    if (users) {
      CHECK(batch->candidates.positives.compete == !masked);
      loss[1] = static_cast<double>(towers.loss(tape, *batch).total.item()) * 12 * most / total;
      continue;
    }
    // An item that a user has twice is one positive of the user's: each distinct pair once.
    std::set<std::pair<int64_t, int64_t>> pairs;
    std::vector<int64_t> keep;
    for (int64_t i = 0; i < batch->size(); ++i)
      if (pairs.insert({batch->user.id[i], batch->item.id[i]}).second) keep.push_back(i);
    for (const int64_t i : keep) {
      Arena one_arena;
      Tape<float> one_tape(one_arena);
      Batch<float> one = *batch;
      one.user.id = {batch->user.id.data() + i, {1}}, one.item.id = {batch->item.id.data() + i, {1}};
      one.user.features = {batch->user.features.row(i), {1, batch->user.features.cols()}};
      one.labels = {batch->labels.row(i), {1, 2}}, one.position = {batch->position.data() + i, {1}};
      one.candidates.target = {batch->candidates.target.data() + i, {1}};
      std::vector<int64_t> offsets = {0, 0};
      if (masked) {
        const Exclusions& all = batch->candidates.exclude;
        offsets[1] = all.offsets[i + 1] - all.offsets[i];
        one.candidates.exclude = {{offsets.data(), {2}}, {all.columns.data() + all.offsets[i], {offsets[1]}}};
      }
      loss[0] += static_cast<double>(towers.loss(one_tape, one).total.item()) / static_cast<double>(keep.size());
    }
  }
  CHECK(loss[1] == doctest::Approx(loss[0]).epsilon(1e-5));
}

TEST_CASE("user rows: models that learn from single impressions are refused") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(5, 8, 3));
  TrainConfig train;
  train.rows = "users";
  const auto message = [&](auto change) {
    ModelConfig model = full_softmax(data);
    change(model);
    return error_of([&] { Loader(data, model, train); });
  };
  CHECK(message([](ModelConfig&) {}) == "");
  CHECK(message([](ModelConfig& m) { m.full_softmax = false; }) ==
        "[config] train.rows = \"users\" needs every item as a column; set full_softmax = true, or rows = "
        "\"positive\"");
  for (int part = 0; part < 4; ++part)
    CHECK(message([&](ModelConfig& m) {
            if (part == 0) m.history = true;
            if (part == 1) m.debias = "user";
            if (part == 2) m.light_ranker = true;
            if (part == 3) m.alignment = "kl";
          }) ==
          "[config] train.rows = \"users\" has no single impressions, which history, debias, light_ranker and "
          "alignment learn from; set rows = \"auto\"");
  CHECK(message([](ModelConfig& m) { m.hard_negatives = 3; }) ==
        "[config] train.rows = \"users\" compares all items; set hard_negatives = 0");
}
