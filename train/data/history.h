#pragma once
// Each user's actions in time order, and how far into them each impression may see (dataset_writer.h has the
// rule).

#include <twotower/train/data/dataset_content.h>

#include <cstdint>
#include <vector>

namespace tt {

struct History {
  std::vector<int64_t> offsets;  // [U + 1]
  std::vector<int32_t> items;    // oldest first; train actions, then valid ones
  std::vector<double> times;
  std::vector<uint8_t> actions;                         // [N, T]: label t > 0
  std::vector<int32_t> train_end, valid_end, test_end;  // per impression
};

History build_history(const DatasetContent& content);

}  // namespace tt
