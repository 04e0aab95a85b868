#pragma once
// Which impressions training learns from, and so which users and items it has met: one rule for the loader, for
// evaluation and for what is served.

#include <twotower/models/config.h>
#include <twotower/train/batches/options.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/ranker_pairs.h>

#include <cstdint>
#include <vector>

namespace tt {

// Whether some part of the model learns from impressions without value, too.
bool learns_from_all_rows(const ModelConfig& model);

// Rows of the train split, ascending: all of them, or those of which the net user value is above 0 (train.rows).
std::vector<int64_t> training_rows(const Dataset& data, const ModelConfig& model, const BatchOptions& train);

// 1 where a row of an id table has had a gradient; every other row still holds what chance made it, and is not used.
struct LearntRows {
  std::vector<uint8_t> users;  // [U] of a training row or a list
  std::vector<uint8_t> items;  // [C] of a training row or a list, of its history where the model reads one, or among
                               // what is drawn from all items
};
// pairs: those that the lists held beside the log.
LearntRows learnt_rows(const Dataset& data, const ModelConfig& model, const BatchOptions& train,
                       const RankerPairs& pairs = {});

}  // namespace tt
