#pragma once
// The named workloads that every figure of this project is measured on, and batches of them made in memory.

#include <twotower/models/batch.h>
#include <twotower/models/config.h>

#include <string>
#include <vector>

namespace tt::bench {

struct Workload {
  std::string name;
  int64_t batch, history;          // B impressions, each user with H items of history
  int64_t user_width, item_width;  // DU, DI
  int64_t user_features, item_features;
  int64_t users, items;  // rows of the two tables

  static constexpr int64_t kTasks = 3, kRankerVectors = 4, kMipsItems = 100;
};

// "small", "medium" or "large". Throws Error for another name.
Workload find_workload(const std::string& name);

// A rung of the ladder at this size: compat = "reference", 4 heads, 3 layers. Initial values are smaller than the
// reference's, so that hundreds of steps on random labels stay finite; no operation depends on that.
ModelConfig workload_config(const Workload& workload, const std::string& rung);

// Batches of uniform random ids and features with full-length histories.
class WorkloadBatches {
 public:
  WorkloadBatches(const Workload& workload, int count, uint64_t seed = 1);
  Batch<float> operator[](size_t i) const;  // views into *this
  size_t size() const { return data_.size(); }

 private:
  struct Columns {
    std::vector<int64_t> user, item, offsets, history;
    std::vector<float> user_features, item_features, labels, ranker_scores;
    std::vector<int32_t> position;
  };
  Workload workload_;
  std::vector<Columns> data_;
};

}  // namespace tt::bench
