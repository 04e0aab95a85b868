#pragma once
// What a training does with lists (list_loader.h): passes over them between the impressions' batches of an epoch. It
// owns the lists and, for a model that is aligned with one, the reward that values what is on them.

#include <twotower/train/batches/list_loader.h>
#include <twotower/train/fit/reward.h>
#include <twotower/train/fit/training_step.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tt {

inline constexpr const char* kRewardFile = "reward.safetensors";  // in a run's folder

class ListTraining {
 public:
  using Message = std::function<void(const std::string&)>;

  // For a config whose model needs_lists(). pairs: all that the main ranker was asked. An alignment's reward is trained
  // now, from its `first` member on where there is one (reward.h), or read from `resumed_run` unless that is empty, where
  // training stopped.
  ListTraining(const Dataset& data, const RunConfig& config, const RankerPairs& pairs, std::optional<Reward> first,
               const std::string& resumed_run, const Message& say);

  int64_t batches_per_epoch() const { return lists_.batches() * config_.train.list_passes; }

  // Lists that are to be aligned hold the best of this policy as it is now.
  void start_epoch(int64_t epoch, const TwoTower<float>& policy, bool alignment_on);
  // Takes steps until `until` batches of the epoch have been.
  void run_until(int64_t until, TrainingStep& step, double learning_rate);

  // Means over the epoch's batches so far: the parts of the loss, and what the reward makes of the policy.
  nlohmann::ordered_json losses() const;
  double policy_reward() const { return losses_.reward / static_cast<double>(done_); }

  void save_reward(const std::string& run) const;  // nothing without one

 private:
  RunConfig config_;
  ListLoader lists_;
  std::optional<Reward> reward_;
  std::vector<uint8_t> learnt_items_;  // [C] of which the policy knows more than their features
  int64_t epoch_ = 0, done_ = 0;       // batches of the epoch
  bool alignment_on_ = false;
  ListLosses losses_;  // their sum
  Arena arena_;        // of the batch's values
};

}  // namespace tt
