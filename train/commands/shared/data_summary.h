#pragma once
// What `simulate` and `import` say at the end.

#include <string>

namespace tt {

// Reads the dataset back (so a dataset that is reported on is one that opens) and prints a table, or one JSON
// object.
void print_dataset_summary(const std::string& dir, bool json);

}  // namespace tt
