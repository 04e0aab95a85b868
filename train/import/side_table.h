#pragma once
// A file of user or item features: one line each, the id and then columns of any kind.

#include <twotower/train/data/delimited.h>
#include <twotower/train/data/features.h>
#include <twotower/train/import/id_map.h>

#include <string>
#include <vector>

namespace tt {

// Which kind a column is:
//   RecBole `float`, `float_seq`    numbers (a sequence gives one column an entry)
//   RecBole `token_seq`, and csv columns with a `|` in some field     a set of categories
//   all others: numbers when the values are numbers and there are more than 12 different, or one has a
//   decimal point
//               (up to one value in 200 may be another text, which counts as missing, with a note); else a
//               category
// Ids that had no interaction join `ids`; ids without a line here count as missing in every column.
std::vector<FeatureColumn> read_side_table(const std::string& path, const Dialect& dialect, const std::string& role,
                                           const std::string& id_column, IdMap& ids, std::vector<std::string>& notes);

}  // namespace tt
