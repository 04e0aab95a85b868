#pragma once
// Makes a dataset folder. It is written under a temporary name and renamed at the end, so that a half-written dataset
// never stands under the real name.

#include <twotower/train/data/dataset_content.h>

#include <string>

namespace tt {

// Histories are built here. A user's list holds the train actions (rows with any label > 0) in time order,
// then the valid ones; an impression may see the train actions strictly earlier than itself and, in test,
// once it is later than all of those, the strictly earlier valid ones. Test actions are in no history.
//
// Refuses, before anything is written: no users, items or train rows; rows out of range; labels, scores and scores
// of pairs outside [0, 1]; NaN features or times; weights below 0; a target that exists and is more than a dataset (an
// older dataset is replaced, and only if nothing else lies in its folder).
void write_dataset(const std::string& dir, const DatasetContent& content);

// The last check alone, so that a long import can refuse a bad --out before it starts.
void check_dataset_target(const std::string& dir);

}  // namespace tt
