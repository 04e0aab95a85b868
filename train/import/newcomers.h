#pragma once
// Files of users and items that came after the model was trained. They are served from features (and users
// from a history), without an id.
//
// A file has a header line and then a line each: the id in its first column, the features of the dataset
// under their names in the imported files, and for users, if one likes, a column `history` of item ids,
// newest first, separated by spaces or by |. Text is delimited as told, or as its header line looks:
// RecBole's NAME:TYPE with tabs, tabs, or commas.

#include <twotower/models/retrieval/recommender.h>

#include <string>
#include <vector>

namespace tt {

struct NewItems {
  std::vector<std::string> ids;
  std::vector<float> features;     // [n, II]
  std::vector<std::string> notes;  // for people: what of the file was not understood
  int64_t size() const { return static_cast<int64_t>(ids.size()); }
};

struct NewUsers {
  std::vector<std::string> ids;
  std::vector<std::vector<float>> features;     // [IU] each; empty where the model reads none
  std::vector<std::vector<int32_t>> histories;  // item rows, oldest first
  std::vector<std::vector<int32_t>> seen;       // the same items, ascending and without repeats
  std::vector<std::string> notes;
  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  ServedUser served(size_t i) const { return {.features = features[i], .history = histories[i], .leave_out = seen[i]}; }
};

// delimiter 0: see above. Errors "[import FILE:LINE] ...": an id that is empty, there twice, or known to the bundle
// already; a column that it does not know; one that the model's features need and that is missing; a text that is no
// number where the data has numbers. A category that the data does not have is a note and counts as missing, and so
// does an item of a history.
NewItems read_new_items(const std::string& path, const Bundle& bundle, char delimiter = 0);
NewUsers read_new_users(const std::string& path, const Bundle& bundle, char delimiter = 0);

}  // namespace tt
