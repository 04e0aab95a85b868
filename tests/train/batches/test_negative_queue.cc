// Queued items: ids and vectors that cannot part.

#include <doctest/doctest.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/fit/training_step.h>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

// Vectors that tell which item they are of: [n, 2].
Tensor<float> vectors_of(const std::vector<int64_t>& items, Arena& arena) {
  const Tensor<float> v = make_tensor<float>(arena, {static_cast<int64_t>(items.size()), 2});
  for (size_t i = 0; i < items.size(); ++i)
    v.row(static_cast<int64_t>(i))[0] = static_cast<float>(items[i]), v.row(static_cast<int64_t>(i))[1] = 0.5f;
  return v;
}

std::vector<int64_t> list(Tensor<const int64_t> ids) { return {ids.begin(), ids.end()}; }

}  // namespace

TEST_CASE("negative queue: the newest items, oldest first, each with its own vector") {
  Arena arena;
  NegativeQueue queue(5, 2, 3);
  int64_t item = 0;
  std::vector<int64_t> all;
  for (int batch = 0; batch < 9; ++batch) {
    const Tensor<const int64_t> ids = queue.ids(arena);
    const std::vector<int64_t> last(all.end() - std::min<long>(5, static_cast<long>(all.size())), all.end());
    CHECK(list(ids) == last);
    std::vector<int64_t> own;
    for (int64_t i = 0; i < 1 + batch % 3; ++i) own.push_back(item++);
    queue.announce(own.data(), static_cast<int64_t>(own.size()));
    all.insert(all.end(), own.begin(), own.end());
    // The next batch is made before this one is trained on.
    const std::vector<int64_t> next = list(queue.ids(arena));
    CHECK(next == std::vector<int64_t>(all.end() - std::min<long>(5, static_cast<long>(all.size())), all.end()));
    const QueuedItems<float> queued = queue.with_vectors(ids, arena);
    REQUIRE(queued.vectors.rows() == ids.numel());
    for (int64_t i = 0; i < ids.numel(); ++i) CHECK(queued.vectors.row(i)[0] == static_cast<float>(ids[i]));
    queue.give(vectors_of(own, arena));
  }
}

TEST_CASE("negative queue: ids and vectors that do not belong together are refused") {
  Arena arena;
  NegativeQueue queue(5, 2, 3);
  const int64_t items[] = {7, 8, 9};
  queue.announce(items, 2);
  CHECK(
      error_of([&] { queue.with_vectors(queue.ids(arena), arena); }) ==
      "[queue] the batch has 2 queued items, the queue 0 with vectors; train on each batch, in the order in which they "
      "were made");
  CHECK(error_of([&] {
          queue.give(vectors_of({7, 8, 9}, arena));
        }) == "[queue] vectors of shape [3, 2] for 2 announced items of width 2");
  queue.give(vectors_of({7, 8}, arena));
  CHECK(error_of([&] { queue.give(vectors_of({7}, arena)); }) ==
        "[queue] vectors of shape [1, 2] for 0 announced items of width 2");
  CHECK(error_of([&] {
          queue.with_vectors({items + 1, {2}}, arena);
        }) ==
        "[queue] the batch was made for item 8 in place 0, the queue holds item 7; train on each batch, in the order "
        "in which they were made");
  queue.announce(items + 2, 1);
  queue.drop_announced();  // a batch that was made and never trained on
  CHECK(list(queue.ids(arena)) == std::vector<int64_t>{7, 8});
  CHECK(queue.with_vectors(queue.ids(arena), arena).vectors.row(1)[0] == 8);
}

TEST_CASE("negative queue: it comes back from a file as it was") {
  const TempFolder folder;
  Arena arena;
  NegativeQueue queue(5, 2, 3);
  for (const std::vector<int64_t>& own : {std::vector<int64_t>{1, 2, 3}, {4, 5}, {6, 7}}) {
    queue.announce(own.data(), static_cast<int64_t>(own.size()));
    queue.give(vectors_of(own, arena));
  }
  SafetensorsWriter writer;
  queue.add_state(writer);
  writer.write(folder.path() + "/state.safetensors");
  const SafetensorsFile file = SafetensorsFile::open(folder.path() + "/state.safetensors");
  NegativeQueue again(5, 2, 3);
  again.load_state(file);
  CHECK(list(again.ids(arena)) == std::vector<int64_t>{3, 4, 5, 6, 7});
  const QueuedItems<float> queued = again.with_vectors(again.ids(arena), arena);
  for (int64_t i = 0; i < 5; ++i) CHECK(queued.vectors.row(i)[0] == static_cast<float>(queued.id[i]));
  NegativeQueue small(4, 2, 3);
  CHECK(error_of([&] { small.load_state(file); }) ==
        "[queue] the file holds 5 queued items, model.negative_queue is 4");
}

// With hidden ids, a prefetching thread and an epoch left early: whatever the batch calls item i has the vector that
// the step gave when it trained on item i.
TEST_CASE(
    "negative queue: a loader's batches and the steps on them agree on what is queued, also after an epoch left "
    "early") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(37, 23, 9));
  ModelConfig model = small_config(data);
  model.negative_queue = 70;
  TrainConfig train;
  train.batch_size = 50, train.item_id_dropout = 0.3, train.prefetch = true;
  TwoTower<float> towers(model);
  Loader loader(data, model, train);
  TrainingStep step(towers, train, loader.queue());
  int64_t full = 0;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    loader.start_epoch(epoch);
    for (int64_t n = 0; const Batch<float>* batch = loader.next(); ++n) {
      full += batch->queue.id.numel() == 70;
      step.run(*batch, 1e-3);
      if (epoch == 1 && n == 2) break;  // the fourth batch is made, and never trained on
    }
  }
  CHECK(full > 10);
}
