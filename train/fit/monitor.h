#pragma once
// What is watched while a model is trained: the validation measure that picks the best epoch, and whether the reward is
// being gamed.

#include <twotower/train/evaluate/metrics.h>

#include <string>
#include <vector>

namespace tt {

inline constexpr const char* kLabelPairs = "label_pairs";  // metrics.h

// What picks the best epoch unless the config says so, of these K. Clicks held out follow the slots that they were made
// in; a model that takes these out gets better at what users like and worse at that, so its clicks are weighed by the
// inverse of examination. A model that learns from lists is judged by how it orders what was shown: as the main ranker
// did, or if it was not logged, as the labels do.
std::string default_monitor(const ModelConfig& model, const Dataset& data, const std::vector<int64_t>& ks);

// The standard error of a measure that is a mean over users.
double standard_error_of(const EvaluationResult& result, const std::string& measure);

// Over-optimisation: the policy's value in the reward's eyes goes up while what it does for users goes down (Gao et al.
// 2023, "Scaling laws for reward model overoptimization"). The reward is frozen and held-out labels are none of its
// making, so that the two can part.
class OveroptimizationMonitor {
 public:
  // An evaluation: the frozen reward of the policy, and a measure of its held-out labels, higher being better, with its
  // standard error. Returns a warning where the measure is below its best so far by more than two of these while the
  // reward is above what it was then; else "".
  std::string see(double reward, const std::string& name, double measure, double error);

 private:
  double best_ = 0, reward_then_ = 0;
  int seen_ = 0;
};

}  // namespace tt
