#pragma once
// What tells one dataset from another, by content: where its folder lies or who made it does not matter.

#include <twotower/train/data/dataset.h>
#include <twotower/train/data/ranker_pairs.h>

#include <string>

namespace tt {

// What a row of a user or item table means: ids in their order, features and how they were encoded. A model holds for
// one order of rows and one layout of features only.
std::string rows_fingerprint(const Dataset& data);
// The impressions of all splits, the histories and the dataset's ranker pairs: what a training learns from and is
// measured on.
std::string log_fingerprint(const Dataset& data);
std::string pairs_fingerprint(const RankerPairs& pairs);  // "" of none

// Throws Error, saying what differs, unless the dataset's rows mean what `rows` (of the file `made_of_it`) says.
void check_rows(const Dataset& data, const std::string& rows, const std::string& made_of_it);

}  // namespace tt
