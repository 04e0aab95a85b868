// The history encoder: the fast path against plain ops, and histories of every length and form.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/models/history_encoder.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/run/checkpoint.h>
#include <twotower/train/run/config.h>
#include <twotower/train/step/step.h>
#include <twotower/train/step/step_batch.h>

#include <cmath>
#include <cstring>

#include "tests/models/fixtures.h"
#include "tests/train/fixtures.h"

using namespace tt;

namespace {

ModelConfig history_config() {
  ModelConfig c = testing::rung_config("history");
  c.item_id_embedding_dim = 8, c.item_id_hash_size = 30;
  c.user_history_seqlen = 12, c.attention_heads = 4, c.attention_layers = 3;
  return c;
}

// Sequences of 5, 0, 12, 1, 2, 0 and 9 items, in that order, with ids and flags.
template <class T>
struct Histories {
  explicit Histories(const ModelConfig& config) {
    const int64_t lengths[] = {5, 0, 12, 1, 2, 0, 9};
    for (const int64_t n : lengths) offsets.push_back(offsets.back() + n);
    for (int64_t i = 0; i < offsets.back(); ++i) items.push_back((i * 7 + 3) % config.item_id_hash_size);
    for (int64_t i = 0; i < offsets.back() * config.history_actions; ++i) flags.push_back(i * i % 3 == 1);
    users.history_offsets = {offsets.data(), {8}};
    users.history_items = {items.data(), {offsets.back()}};
    if (!flags.empty()) users.history_actions = {flags.data(), {offsets.back(), config.history_actions}};
  }
  std::vector<int64_t> offsets = {0}, items;
  std::vector<uint8_t> flags;
  UserInputs<T> users;
};

// Both outputs, then the gradient of every parameter for a given random upstream.
template <class T>
std::vector<double> run_encoder(const ModelConfig& config, bool reference) {
  ParameterSet<T> parameters(4);
  Parameter<T>* table =
      parameters.add("items", {config.item_id_hash_size, config.item_id_embedding_dim}, Initializer::normal(0.7));
  const HistoryEncoder<T> encoder(parameters, "history", config, table);
  const Histories<T> histories(config);
  Arena arena;
  Tape<T> tape(arena);
  const auto out = reference ? encoder.reference(tape, histories.users) : encoder(tape, histories.users);
  std::vector<double> numbers;
  Variable<T> total;
  uint64_t next = 0;
  for (const Variable<T> y : {out.attended, out.mean}) {
    const Tensor<T> weight = tape.make(y.shape());
    for (T& w : weight) w = static_cast<T>(static_cast<float>(Philox(8).normal(next++)));
    const Variable<T> part = sum(multiply(y, tape.constant(weight)));
    total = total ? add(total, part) : part;
    for (const T x : y.value()) numbers.push_back(static_cast<double>(x));
  }
  const Gradients<T> gradients = tape.backward(total);
  for (const Parameter<T>* p : parameters.all())
    for (const double g : testing::dense_gradient(gradients, *p)) numbers.push_back(g);
  return numbers;
}

void compare(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]) / (1 + std::abs(b[i])));
  CHECK(worst < tolerance);
}

// A batch file of five users, their histories padded to `width`.
void write_batch(const std::string& path, const ModelConfig& config, int64_t width,
                 const std::vector<std::vector<int64_t>>& histories) {
  const testing::TinyBatch<float> tiny(config);
  const Batch<float>& b = tiny.batch;
  std::vector<int64_t> padded(static_cast<size_t>(5 * width), -1);
  std::vector<uint8_t> flags(static_cast<size_t>(5 * width * config.history_actions),
                             1);  // padding has flags, too
  for (size_t i = 0; i < 5; ++i)
    for (size_t j = 0; j < histories[i].size() && j < static_cast<size_t>(width); ++j) {
      const size_t at = i * static_cast<size_t>(width) + j;
      padded[at] = histories[i][j];
      for (size_t a = 0; a < static_cast<size_t>(config.history_actions); ++a)
        flags[at * static_cast<size_t>(config.history_actions) + a] = (i + j + a) % 2;
    }
  SafetensorsWriter writer;
  writer.add("user_id", b.user.id.data(), {5});
  writer.add("item_id", b.item.id.data(), {5});
  writer.add("user_features", b.user.features.data(), {5, config.user_features_size});
  writer.add("item_features", b.item.features.data(), {5, config.item_features_size});
  writer.add("labels", b.labels.data(), {5, config.num_tasks()});
  writer.add("user_history", padded.data(), {5, width});
  if (config.history_actions > 0) writer.add("history_actions", flags.data(), {5, width, config.history_actions});
  writer.write(path);
}

// What `twotower step` writes for histories padded to `width`.
std::string step_bytes(const TempFolder& folder, const ModelConfig& config, int64_t width,
                       const std::vector<std::vector<int64_t>>& histories) {
  const std::string config_path = folder.file("config.toml", to_toml(config)), weights = folder.path() + "/weights",
                    batch = folder.path() + "/batch", out = folder.path() + "/out";
  save_model(weights, TwoTower<float>(config, 9));
  write_batch(batch, config, width, histories);
  run_step(config_path, weights, batch, out);
  return read_whole_file(out);
}

const std::vector<std::vector<int64_t>> kHistories = {{1, 2, 3}, {}, {8, 7, 6, 5}, {4}, {2, 2}};

}  // namespace

TEST_CASE("history: the fast path is the plain one, in values and gradients") {
  for (const bool blocks : {false, true})
    for (const int64_t layers : {0, 1, 2, 3})
      for (const int64_t heads : {1, 4})
        for (const int64_t actions : {0, 3}) {
          ModelConfig config = history_config();
          config.transformer_blocks = blocks, config.attention_layers = layers, config.attention_heads = heads;
          config.history_actions = actions;
          INFO("blocks ", blocks, ", layers ", layers, ", heads ", heads, ", actions ", actions);
          const auto reference = run_encoder<double>(config, true);
          compare(run_encoder<double>(config, false), reference, 1e-11);
          compare(run_encoder<float>(config, false), reference, 3e-5);
          compare(run_encoder<float>(config, true), reference, 3e-5);
        }
}

TEST_CASE("history: padding with -1 does not change a bit") {
  for (const int64_t actions : {0, 2})
    for (const bool blocks : {false, true}) {
      const TempFolder folder;
      ModelConfig config = testing::rung_config("history");
      config.history_actions = actions, config.transformer_blocks = blocks;
      const std::string shortest = step_bytes(folder, config, 4, kHistories);
      CHECK(step_bytes(folder, config, 5, kHistories) == shortest);
      CHECK(step_bytes(folder, config, 17, kHistories) == shortest);
    }
}

TEST_CASE("history: only the newest items are read, up to the capacity") {
  const TempFolder folder;
  ModelConfig config = testing::rung_config("history");
  config.history_actions = 2;
  auto longer = kHistories;
  longer[2] = {8, 7, 6, 5, 4, 3, 2};  // newest first: the last three are beyond the capacity of 4
  CHECK(step_bytes(folder, config, 7, longer) == step_bytes(folder, config, 4, kHistories));
  longer[2] = {1, 8, 7, 6, 5};
  CHECK(step_bytes(folder, config, 7, longer) != step_bytes(folder, config, 4, kHistories));

  write_batch(folder.path() + "/batch", config, 7, longer);
  const StepBatch step(folder.path() + "/batch", config);
  const UserInputs<float>& users = step.batch().user;
  CHECK(std::vector<int64_t>(users.history_offsets.begin(), users.history_offsets.end()) ==
        std::vector<int64_t>{0, 3, 3, 7, 8, 10});
  CHECK(std::vector<int64_t>(users.history_items.begin(), users.history_items.end()) ==
        std::vector<int64_t>{1, 2, 3, 1, 8, 7, 6, 4, 2, 2});
}

TEST_CASE("history: empty ones give zeros, and all of them may be empty") {
  for (const bool blocks : {false, true}) {
    ModelConfig config = history_config();
    config.transformer_blocks = blocks;
    ParameterSet<double> parameters(4);
    Parameter<double>* table = parameters.add("items", {30, 8}, Initializer::normal(1));
    const HistoryEncoder<double> encoder(parameters, "history", config, table);
    const Histories<double> some(config);
    Arena arena;
    Tape<double> tape(arena);
    const auto out = encoder(tape, some.users);
    for (const int64_t empty : {1, 5})
      for (int64_t j = 0; j < 8; ++j) {
        CHECK(out.attended.value().row(empty)[j] == 0);
        CHECK(out.mean.value().row(empty)[j] == 0);
      }
    CHECK(out.attended.value().row(0)[0] != 0);

    const std::vector<int64_t> offsets(4, 0);
    UserInputs<double> none;
    none.history_offsets = {offsets.data(), {4}};
    none.history_items = {offsets.data(), {0}};
    const auto nothing = encoder(tape, none);
    for (int64_t i = 0; i < 24; ++i) {
      CHECK(nothing.attended.value()[i] == 0);
      CHECK(nothing.mean.value()[i] == 0);
    }
    const Gradients<double> gradients = tape.backward(sum(add(nothing.attended, nothing.mean)));
    CHECK(!gradients.of(*table));
  }
  const TempFolder folder;
  const ModelConfig config = testing::rung_config("history");
  CHECK(step_bytes(folder, config, 3, std::vector<std::vector<int64_t>>(5)) ==
        step_bytes(folder, config, 0, std::vector<std::vector<int64_t>>(5)));
}

TEST_CASE("history: a sequence's result does not depend on the others of the batch") {
  const ModelConfig config = history_config();
  ParameterSet<double> parameters(4);
  Parameter<double>* table = parameters.add("items", {30, 8}, Initializer::normal(0.7));
  const HistoryEncoder<double> encoder(parameters, "history", config, table);
  const Histories<double> all(config);
  Arena arena;
  Tape<double> tape(arena, false);
  const auto together = encoder(tape, all.users);
  const std::vector<int64_t> offsets = {0, 12};
  UserInputs<double> alone;
  alone.history_offsets = {offsets.data(), {2}};
  alone.history_items = {all.items.data() + all.offsets[2], {12}};
  const auto single = encoder(tape, alone);
  for (int64_t j = 0; j < 8; ++j) {
    CHECK(single.attended.value()[j] == doctest::Approx(together.attended.value().row(2)[j]).epsilon(1e-12));
    CHECK(single.mean.value()[j] == doctest::Approx(together.mean.value().row(2)[j]).epsilon(1e-12));
  }
}

TEST_CASE("history: flags of the wrong shape are refused") {
  ModelConfig config = history_config();
  config.history_actions = 2;
  ParameterSet<double> parameters(4);
  Parameter<double>* table = parameters.add("items", {30, 8}, Initializer::normal(0.7));
  const HistoryEncoder<double> encoder(parameters, "history", config, table);
  Histories<double> histories(config);
  histories.users.history_actions = {histories.flags.data(), {29, 1}};
  Arena arena;
  Tape<double> tape(arena);
  CHECK(error_of([&] { encoder(tape, histories.users); }) ==
        "[history] history_actions has shape [29, 1]; the model expects [29, 2]");
}
