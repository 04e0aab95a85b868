#pragma once
// Watches for a reward that is being gamed: the policy's value in its eyes goes up while the measure on
// held-out data goes down (Gao et al. 2023, "Scaling laws for reward model overoptimization").

#include <string>

namespace tt {

class OveroptimizationMonitor {
 public:
  // Returns a warning, or "".
  std::string see(double reward, double measure, const std::string& name, bool lower_better) {
    const double goodness = lower_better ? -measure : measure;
    const bool gamed = seen_ > 0 && reward > last_reward_ && goodness < last_goodness_;
    run_ = gamed ? run_ + 1 : 0;
    last_reward_ = reward, last_goodness_ = goodness, ++seen_;
    if (run_ < 2) return "";
    return "over-optimisation: the reward rose twice in a row to " + std::to_string(reward) + " while " + name +
           " on held-out data got worse twice, to " + std::to_string(measure) +
           "; lower model.alignment_weight or stop earlier";
  }

 private:
  double last_reward_ = 0, last_goodness_ = 0;
  int seen_ = 0, run_ = 0;
};

}  // namespace tt
