// The baseline als_ranker against bench/peers/als.py, from the same start (write_als_golden.py).

#include <doctest/doctest.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/baselines/als_ranker.h>
#include <twotower/train/data/ranker_pairs.h>

#include <algorithm>
#include <cmath>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

template <class T>
std::vector<T> column(const SafetensorsFile& file, const std::string& name) {
  int64_t size = 1;
  for (const int64_t extent : file.entry(name).shape) size *= extent;
  const T* data = file.data<T>(name);
  return {data, data + size};
}

// The log as it was, without any label, and the pairs that were asked for beside it.
Dataset written(const TempFolder& folder, const SafetensorsFile& golden, int64_t users, int64_t items) {
  DatasetContent content;
  content.value_weights = column<float>(golden, "value_weights");
  for (size_t t = 0; t < content.value_weights.size(); ++t) content.tasks.push_back("task" + std::to_string(t));
  for (int64_t u = 0; u < users; ++u) content.user_ids.push_back("u" + std::to_string(u));
  for (int64_t i = 0; i < items; ++i) content.item_ids.push_back("i" + std::to_string(i));
  content.train.user = column<int32_t>(golden, "user");
  content.train.item = column<int32_t>(golden, "item");
  content.train.ranker_scores = column<float>(golden, "ranker_scores");
  content.train.labels.assign(content.train.ranker_scores.size(), 0);
  for (size_t n = 0; n < content.train.user.size(); ++n) content.train.time.push_back(static_cast<double>(n));
  const std::string path = folder.path() + "/data";
  write_dataset(path, content);
  save_ranker_pairs(path + "/" + kRankerPairsFile,
                    {column<int32_t>(golden, "asked_user"), column<int32_t>(golden, "asked_item"),
                     column<float>(golden, "asked_scores")});
  return Dataset::open(path);
}

}  // namespace

TEST_CASE("parity: als_ranker's scores are those of bench/peers/als.py") {
  const SafetensorsFile golden =
      SafetensorsFile::open(TWOTOWER_GOLDEN_DIR + std::string("/als_ranker/als_ranker.safetensors"));
  const std::vector<int64_t>& shape = golden.entry("expected").shape;
  const int64_t users = shape[0], items = shape[1];
  const TempFolder folder;
  const Dataset data = written(folder, golden, users, items);
  BaselineOptions options;
  options.als_ranker = {.width = 3, .sweeps = 40, .l2 = 1};
  AlsRanker als(options);
  als.fit(data);
  std::vector<UserMoment> all;
  for (int64_t u = 0; u < users; ++u) all.push_back({u, 0});
  std::vector<float> found(static_cast<size_t>(users * items));
  als.score(all, found.data());
  const std::vector<float> expected = column<float>(golden, "expected");
  float worst = 0, largest = 0;
  for (size_t n = 0; n < found.size(); ++n) {
    worst = std::max(worst, std::abs(found[n] - expected[n]));
    largest = std::max(largest, std::abs(expected[n]));
  }
  CHECK(largest > 1);
  INFO("error ", worst);
  CHECK(worst < 1e-5f * largest);  // targets are floats here
}
