#pragma once
// What is watched while a model is trained: the validation measure that picks the best epoch, and whether the reward is
// being gamed.

#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/evaluate/metrics.h>

#include <string>
#include <vector>

namespace tt {

inline constexpr const char *kLabelPairs = "label_pairs", *kLoggedPairs = "logged_pairs";  // metrics.h

// The K that an epoch is chosen at: the largest of these up to 20, or else the smallest.
int64_t monitored_k(const std::vector<int64_t>& ks);

// What picks the best epoch unless the config says so, of these K. Clicks held out follow the slots that they were made
// in; a model that takes these out gets better at what users like and worse at that, so its clicks are weighed by the
// inverse of examination. A model that learns from lists is judged by how it orders what was shown: as the main ranker
// did, or if it was not logged, as the labels do.
std::string default_monitor(const ModelConfig& model, const Dataset& data, const Evaluator* evaluator,
                            const std::vector<int64_t>& ks);

// Whether a measure is of how a model orders what users were shown.
bool orders_shown(const std::string& measure);

// Throws Error where the evaluator has no value of that measure.
void check_monitor(const std::string& measure, const Dataset& data, const EvaluateOptions& options,
                   const Evaluator& evaluator);

// The label_pairs of each user that was evaluated; NaN where there are none.
std::vector<float> label_pairs_of(const EvaluationResult& result);

// Over-optimisation: the policy's value in the reward's eyes goes up while what it does for users goes down (Gao et al.
// 2023, "Scaling laws for reward model overoptimization"). The reward is frozen and held-out labels are none of its
// making, so that the two can part.
class OveroptimizationMonitor {
 public:
  // An evaluation: the frozen reward of the policy (minus infinity before alignment begins), and the label_pairs of
  // each user, the same users each time. Returns a warning where these are below their best so far, by more than twice
  // the standard error of the users' differences, while the reward is above what it was then; else "".
  std::string see(double reward, std::vector<float> label_pairs);

  void add_state(SafetensorsWriter& writer) const;
  void load_state(const SafetensorsFile& file, int64_t users);

 private:
  double reward_then_ = 0;  // at the best so far
  std::vector<float> best_;
};

}  // namespace tt
