// Which rows of the id tables training has met: the loader's own batches say it.

#include <doctest/doctest.h>
#include <twotower/train/batches/loader.h>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

// What an epoch of batches looks up.
LearntRows looked_up(const Dataset& data, const ModelConfig& model, TrainConfig train) {
  LearntRows out;
  out.users.assign(static_cast<size_t>(data.num_users()), 0);
  out.items.assign(static_cast<size_t>(data.num_items()), 0);
  train.user_id_dropout = train.item_id_dropout = 0, train.prefetch = false, train.batch_size = 7;
  Loader loader(data, model, train);
  for (int64_t epoch = 0; epoch < 200; ++epoch) {  // uniform negatives need a while to meet every item
    loader.start_epoch(epoch);
    while (const Batch<float>* batch = loader.next()) {
      for (const int64_t u : batch->user.id) out.users[static_cast<size_t>(u)] = 1;
      for (const int64_t i : batch->item.id) out.items[static_cast<size_t>(i)] = 1;
      for (const int64_t i : batch->negatives.id) out.items[static_cast<size_t>(i)] = 1;
      if (model.history)
        for (const int64_t i : batch->user.history_items) out.items[static_cast<size_t>(i)] = 1;
    }
  }
  return out;
}

}  // namespace

TEST_CASE("training rows: what is served with its id is what training looked up, for every kind of rows") {
  const TempFolder folder;
  DatasetContent content = made_up_content(30, 40, 5);
  for (size_t i = 0; i < content.train.user.size(); ++i)  // rows without any label, and clicks without a like
    if (i % 3 == 0) content.train.labels[2 * i] = content.train.labels[2 * i + 1] = 0;
  const Dataset data = open_written(folder, content);
  const auto same = [&](const ModelConfig& model, const TrainConfig& train) {
    const LearntRows said = learnt_rows(data, model, train), met = looked_up(data, model, train);
    CHECK(said.users == met.users);
    CHECK(said.items == met.items);
    return std::count(said.items.begin(), said.items.end(), 1);
  };
  const ModelConfig base = small_config(data);
  const auto of_base = same(base, {});
  CHECK(of_base < 39);
  ModelConfig model = base;
  TrainConfig train;
  train.rows = "all";
  CHECK(same(model, train) > of_base);
  train.rows = "auto", model.debias = "position";
  CHECK(same(model, train) > of_base);
  model = base, model.user_value_weights = {0, 1};  // a click alone is worth nothing
  const auto likes = same(model, train);
  CHECK(likes < of_base);
  model.history = true;  // but it is history, which looks the item up
  CHECK(same(model, train) > likes);
  model.user_history_seqlen = 1;
  same(model, train);
  model = base, model.mixed_negatives = 8;
  CHECK(same(model, train) == 40);
  model = base, model.full_softmax = true;
  CHECK(same(model, train) == 40);
  train.rows = "users";
  CHECK(same(model, train) == 40);
  model = base, model.history = model.causal = true, model.user_history_seqlen = 3, train.rows = "sequences";
  const auto of_sequences = same(model, train);
  train.rows = "auto";
  CHECK(same(model, train) == of_sequences);
}
