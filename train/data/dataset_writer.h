#pragma once
// Makes a dataset folder from what an importer, the simulator or a program has in memory. The folder is
// written under a temporary name and renamed at the end, so that a half-written dataset never stands under
// the real name.

#include <twotower/train/data/features.h>

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

struct DatasetContent {
  std::string source;                // where it came from, in words
  std::string protocol;              // how it was split, in words
  std::vector<std::string> tasks;    // T names
  std::vector<float> value_weights;  // T, or empty for all 1
  std::vector<std::string> user_ids, item_ids;
  FeatureMatrix user_features, item_features;  // rows may be 0 when there are no features at all
  InteractionColumns train, valid, test;
  // Called with the temporary folder before it gets its name, to add files of one's own.
  std::function<void(const std::string& folder)> also_write;
};

// Histories are built here. A user's list holds the train actions (rows with any label > 0) in time order,
// then the valid ones; an impression may see the train actions strictly earlier than itself and, in test,
// once it is later than all of those, the strictly earlier valid ones. Test actions are in no history.
//
// Refuses, before anything is written: no users, items or train rows; rows out of range; labels and scores
// outside [0, 1]; NaN features or times; a target that exists and is not a dataset (an older dataset is
// replaced).
void write_dataset(const std::string& dir, const DatasetContent& content);

// The last check alone, so that a long import can refuse a bad --out before it starts.
void check_dataset_target(const std::string& dir);

}  // namespace tt
