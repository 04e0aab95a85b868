#pragma once
// Makes a bundle: the one file that all serving needs (docs/formats.md, "A bundle").

#include <twotower/models/bundle/category.h>
#include <twotower/models/bundle/feature_encoder.h>
#include <twotower/models/bundle/id_table.h>
#include <twotower/models/bundle/packed_table.h>
#include <twotower/models/two_tower.h>
#include <twotower/tensor/files/safetensors.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tt {

// What the model was trained on, in words and fingerprints.
struct DataFacts {
  std::string protocol;                     // how it was split, in words
  std::vector<std::string> tasks, actions;  // T names of labels, A of kinds of history action
  std::string rows;                         // fingerprint of what a row of a table means: ids, features, their layout
  std::string log;                          // fingerprint of the impressions and histories
};

// All pointers are views that must live until write_bundle() returns.
struct BundleItems {
  IdTable ids;
  Tensor<const float> vectors;         // [C, DI] by the item tower of the very weights
  const uint8_t* learnt = nullptr;     // [C] 1 where training has met the item: its id row tells something
  const uint8_t* available = nullptr;  // [C] 0 where the item is not on offer; null: all are
  const uint8_t* removed = nullptr;    // [C] 1 where only the row is left, for histories to read; null: nowhere
  std::vector<Category> categories;
  std::string title;  // the category that is an item's name for people; "": there is none
};

struct BundleUsers {
  IdTable ids;
  const uint8_t* learnt = nullptr;       // [U]
  const float* features = nullptr;       // [U, IU]; null where the model reads none
  std::vector<int64_t> history_offsets;  // [U + 1]
  std::vector<int32_t> history_items;    // oldest first
  std::vector<uint8_t> history_actions;  // [N, A]; empty where the model reads none
  std::vector<int64_t> seen_offsets;     // [U + 1]
  std::vector<int32_t> seen_items;       // what the user was shown, ascending and without repeats
};

// An index over a bundle's item vectors, as models/retrieval/index/stored_index.h makes and reads it.
struct BundleIndex {
  std::string facts;                           // a JSON object
  std::map<std::string, TensorEntry> tensors;  // by names that begin with "index."; none: there is no index
};

struct BundleContent {
  const TwoTower<float>* model = nullptr;
  FeatureEncoder user_encoder, item_encoder;
  BundleItems items;
  // Absent for privacy: then the users' id table is left out, too, and only users described in words are served.
  const BundleUsers* users = nullptr;
  DataFacts data;
  BundleIndex index;  // of the item vectors as a reader has them
};

// Atomic: the file is the old one or the whole new one. Throws Error if parts do not fit each other. tables: how the
// tables of users and items and the item vectors are held; its fingerprints are of what a reader makes of them.
void write_bundle(const std::string& path, const BundleContent& content, TableType tables = TableType::f32);

// A bundle's file anew with this index in it, in the place of one that it may have; without parts: with none. Atomic;
// `path` may be the bundle's.
void write_with_index(const std::string& path, const SafetensorsFile& bundle, const BundleIndex& index);

}  // namespace tt
