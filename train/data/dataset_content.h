#pragma once
// A dataset in memory, before it is one: what an importer, the simulator or a program has gathered. dataset_writer.h
// makes a folder of it.

#include <twotower/train/data/features.h>
#include <twotower/train/data/ranker_pairs.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tt {

// One split's rows; every column has one entry a row, labels and ranker_scores T. `position` and
// `ranker_scores` may stay empty.
struct InteractionColumns {
  std::vector<int32_t> user, item, position;
  std::vector<double> time;
  std::vector<float> labels, ranker_scores;
  int64_t size() const { return static_cast<int64_t>(user.size()); }
};

// These rows of the columns, in this order.
InteractionColumns select_rows(const InteractionColumns& from, const std::vector<int64_t>& rows, int64_t tasks);

struct DatasetContent {
  std::string source;                // where it came from, in words
  std::string protocol;              // how it was split, in words
  bool has_times = true;             // false: `time` only tells the order of the source's rows
  std::vector<std::string> tasks;    // T names
  std::vector<float> value_weights;  // T, or empty for all 1
  std::vector<std::string> user_ids, item_ids;
  FeatureMatrix user_features, item_features;  // rows may be 0 when there are no features at all
  std::vector<uint8_t> item_available;         // C, 1: may be returned; or empty: all may (Dataset::available)
  InteractionColumns train, valid, test;
  RankerPairs ranker_pairs;  // may stay empty
  // Called with the temporary folder before it gets its name, to add truth.safetensors.
  std::function<void(const std::string& folder)> also_write;
};

}  // namespace tt
