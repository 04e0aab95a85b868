// rows = "sequences": the rows of a row an impression, each user's encoded once for a window of moments.

#include <doctest/doctest.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/fit/training_step.h>

#include <cmath>
#include <map>
#include <set>

#include "tests/models/fixtures.h"
#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

constexpr int64_t kCapacity = 4;

struct Fixture {
  Fixture() : data(open_written(folder, made_up_content(37, 23, 19))), model(small_config(data)) {
    model.history = model.causal = true, model.history_actions = 2, model.user_history_seqlen = kCapacity;
    train.rows = "sequences", train.batch_size = 50, train.prefetch = false, train.user_id_dropout = 0;
  }
  TempFolder folder;
  Dataset data;
  ModelConfig model;
  TrainConfig train;
};

}  // namespace

TEST_CASE("sequences: every impression once an epoch, as of its own moment, with half the capacity or all before it") {
  Fixture f;
  Loader loader(f.data, f.model, f.train);
  const Impressions& log = f.data.split(Split::train);
  CHECK(loader.rows() == log.size);
  std::map<std::pair<int64_t, int32_t>, int64_t> row_of;  // each user has each position once here
  for (int64_t i = 0; i < log.size; ++i) row_of[{log.user[i], log.position[i]}] = i;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::multiset<int64_t> met;
    int64_t encoded = 0, empty = 0, later_windows = 0, longest = 0;
    loader.start_epoch(epoch);
    while (const Batch<float>* b = loader.next()) {
      const UserInputs<float>& users = b->user;
      encoded += users.id.numel();
      for (int64_t u = 0; u < users.id.numel(); ++u)
        longest = std::max(longest, users.history_offsets[u + 1] - users.history_offsets[u]);
      for (int64_t i = 0; i < b->size(); ++i) {
        const int64_t m = b->user_of.numel() > 0 ? b->user_of[i] : i, u = users.moment_user[m];
        const int64_t user = users.id[u], r = row_of.at({user, b->position[i]}), end = log.history_end[r];
        met.insert(r);
        REQUIRE(b->item.id[i] == log.item[r]);
        const int64_t first = users.moment_row[m];
        if (end == 0) {
          CHECK(first == -1);
          ++empty;
          continue;
        }
        const int64_t known = users.history_offsets[u + 1] - first;
        REQUIRE(first >= users.history_offsets[u]);
        CHECK(known >= std::min<int64_t>(end, kCapacity / 2));
        later_windows += known < std::min<int64_t>(end, kCapacity);
        for (int64_t j = 0; j < known; ++j)
          CHECK(users.history_items[first + j] == f.data.user_actions(user)[static_cast<size_t>(end - 1 - j)]);
      }
    }
    CHECK(std::set<int64_t>(met.begin(), met.end()).size() == static_cast<size_t>(log.size));
    CHECK(met.size() == static_cast<size_t>(log.size));
    CHECK(encoded < log.size / 2);
    CHECK(empty > 0);
    CHECK(later_windows > 0);
    CHECK(longest == kCapacity);
  }
}

TEST_CASE("sequences: the last row of each user knows what it would know alone") {
  Fixture f;
  f.train.batch_size = 10000;
  Loader loader(f.data, f.model, f.train);
  const Impressions& log = f.data.split(Split::train);
  std::map<int64_t, int64_t> last;
  for (int64_t i = 0; i < log.size; ++i) last[log.user[i]] = std::max<int64_t>(last[log.user[i]], log.history_end[i]);
  std::map<int64_t, int64_t> longest;  // how much the newest moment of each user knows
  loader.start_epoch(0);
  const Batch<float>* b = loader.next();
  for (int64_t m = 0; m < b->user.moment_user.numel(); ++m) {
    const int64_t u = b->user.moment_user[m], first = b->user.moment_row[m];
    if (first < 0 || first > b->user.history_offsets[u]) continue;  // not the newest of its window
    int64_t& known = longest[b->user.id[u]];
    known = std::max(known, b->user.history_offsets[u + 1] - first);
  }
  for (const auto& [user, end] : last) CHECK(longest[user] == std::min<int64_t>(end, kCapacity));
}

// Users short enough for one window: the rows' losses and gradients are those of a row an impression.
TEST_CASE("sequences: the loss and the gradient of a row an impression") {
  Fixture f;
  f.model.user_history_seqlen = 64, f.model.full_softmax = true, f.train.batch_size = 10000;
  for (const bool blocks : {false, true}) {
    f.model.transformer_blocks = blocks;
    TwoTower<float> towers(f.model, 5);
    double loss[2];
    std::vector<std::vector<double>> gradients[2];
    for (const bool sequences : {false, true}) {
      f.train.rows = sequences ? "sequences" : "auto";
      Loader loader(f.data, f.model, f.train);
      loader.start_epoch(0);
      Arena arena;
      Tape<float> tape(arena);
      const LossOutput<float> out = towers.loss(tape, *loader.next());
      loss[sequences] = static_cast<double>(out.total.item());
      const Gradients<float> found = tape.backward(out.total);
      for (const Parameter<float>* p : towers.parameters().all())
        gradients[sequences].push_back(testing::dense_gradient(found, *p));
    }
    CHECK(loss[1] == doctest::Approx(loss[0]).epsilon(1e-5));
    for (size_t p = 0; p < gradients[0].size(); ++p) {
      CAPTURE(towers.parameters().all()[p]->name);
      double worst = 0, size = 1e-3;  // of biases that a softmax cancels, rounding is left
      for (size_t i = 0; i < gradients[0][p].size(); ++i) {
        worst = std::max(worst, std::abs(gradients[0][p][i] - gradients[1][p][i]));
        size = std::max(size, std::abs(gradients[0][p][i]));
      }
      CHECK(worst < 1e-4 * size);
    }
  }
}

TEST_CASE("sequences: the same batches with and without a prefetching thread, and wherever training began") {
  Fixture f;
  f.model.mixed_negatives = 5;
  const auto epoch = [&](bool prefetch, int64_t first) {
    f.train.prefetch = prefetch;
    Loader loader(f.data, f.model, f.train);
    std::vector<float> all;
    for (int64_t e = first; e < 3; ++e) {
      all.clear();
      loader.start_epoch(e);
      while (const Batch<float>* b = loader.next()) {
        for (const int64_t i : b->item.id) all.push_back(static_cast<float>(i));
        for (const int64_t i : b->user.moment_row) all.push_back(static_cast<float>(i));
        all.insert(all.end(), b->candidates.log_q.begin(), b->candidates.log_q.end());
      }
    }
    return all;
  };
  const auto once = epoch(false, 0);
  CHECK(epoch(true, 0) == once);
  CHECK(epoch(true, 2) == once);
}

TEST_CASE("sequences: what cannot be trained so is refused") {
  Fixture f;
  const auto message = [&](auto change) {
    ModelConfig model = f.model;
    change(model);
    return error_of([&] { Loader(f.data, model, f.train); });
  };
  CHECK(message([](ModelConfig&) {}) == "");
  CHECK(message([](ModelConfig& m) { m.causal = false; }) ==
        "[config] train.rows = \"sequences\" reads a user's moments from one pass of a causal history encoder; set "
        "history "
        "= true and causal = true, or rows = \"auto\"");
  CHECK(message([](ModelConfig& m) { m.negative_queue = 8; }) ==
        "[config] train.rows = \"sequences\" has no queue of earlier items; set negative_queue = 0");
}
