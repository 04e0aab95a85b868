#pragma once
// The measures by how much the log knows of a user: who lives on an id's own numbers, and who on features and history.

#include <twotower/train/evaluate/metrics.h>

#include <string>
#include <vector>

namespace tt {

struct UserGroup {
  std::string impressions;  // how many of them train has of such a user: "0", "1", "2-3", "4-10", ..., ">100"
  int64_t users = 0;
  Measures measures;  // averages over the group; those over all users at once, such as coverage@K, have no part in it
};

// Groups with a user in them, fewest impressions first. `result` is an evaluation on this data.
std::vector<UserGroup> by_impressions(const Dataset& data, const EvaluationResult& result);

}  // namespace tt
