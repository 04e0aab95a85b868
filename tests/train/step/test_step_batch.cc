// Batches from files, as `twotower step` takes them.

#include <doctest/doctest.h>
#include <twotower/train/step/step_batch.h>

#include <cmath>
#include <limits>
#include <set>

#include "tests/models/fixtures.h"
#include "tests/train/fixtures.h"

using namespace tt;

namespace {

struct File {
  std::vector<int64_t> user = {4, 4, 2}, item = {0, 1, 2};
  std::vector<float> user_features = std::vector<float>(9, 0.5f), item_features = std::vector<float>(6, 0.5f);
  std::vector<float> labels = {1, 0, 0, 0, 0, 0.5f}, log_q = {-1, -2, -3};
  std::vector<int32_t> position = {0, -1, 120};

  std::string write(const TempFolder& folder) const {
    SafetensorsWriter writer;
    writer.add("user_id", user.data(), {3}), writer.add("item_id", item.data(), {3});
    writer.add("user_features", user_features.data(), {3, 3});
    writer.add("item_features", item_features.data(), {3, 2});
    writer.add("labels", labels.data(), {3, 2}), writer.add("log_q", log_q.data(), {3});
    writer.add("position", position.data(), {3});
    writer.write(folder.path() + "/batch");
    return folder.path() + "/batch";
  }
};

}  // namespace

TEST_CASE("step batch: unknown positions stay unknown, and what the user let pass is a negative") {
  const TempFolder folder;
  ModelConfig config = testing::rung_config("base");
  config.debias = "position";
  const StepBatch step(File().write(folder), config);
  const Batch<float>& b = step.batch();
  CHECK(std::vector<int32_t>(b.position.begin(), b.position.end()) == std::vector<int32_t>{0, -1, 120});
  const Exclusions& out = b.candidates.exclude;
  const auto row = [&](int64_t i) {
    return std::set<int32_t>(out.columns.data() + out.offsets[i], out.columns.data() + out.offsets[i + 1]);
  };
  CHECK(row(0).empty());  // user 4 was shown item 1 in row 1, and did not act on it
  CHECK(row(1) == std::set<int32_t>{0});
  CHECK(row(2).empty());
}

TEST_CASE("step batch: numbers that training could not use are refused") {
  const TempFolder folder;
  ModelConfig config = testing::rung_config("base");
  config.debias = "position";
  const auto refusal = [&](auto change) {
    File file;
    change(file);
    const std::string path = file.write(folder);
    return error_of([&] { StepBatch(path, config); }, path);
  };
  CHECK(refusal([](File&) {}) == "");
  CHECK(refusal([](File& f) { f.position[1] = -2; }) ==
        "[step FILE] position holds -2; slots count from 0, and -1 is an unknown one");
  CHECK(refusal([](File& f) { f.labels[1] = 1.5f; }) == "[step FILE] labels hold 1.5; they must lie in [0, 1]");
  CHECK(refusal([](File& f) { f.log_q[2] = -std::numeric_limits<float>::infinity(); }) ==
        "[step FILE] log_q holds -inf; values must be finite");
}
