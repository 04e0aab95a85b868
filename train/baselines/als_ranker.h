#pragma once

#include <twotower/train/baselines/baseline.h>

namespace tt {

// Matrix factorisation of the main ranker's word by alternating least squares (Koren, Bell and Volinsky 2009, "Matrix
// factorization techniques for recommender systems"; as bench/peers/als.py has it). For each pair of which the ranker's
// scores are known, as logged in training or asked for (ranker_pairs.h), the target is the mean over tasks of their
// logits, weighted as the tasks are valued, less the mean of all targets:
//   sum over pairs of (target - x_u . y_i - b_i)^2 + l2 (sum |x_u|^2 + sum |y_i|^2 + sum b_i^2)
// A user without scores gets the order of b.
class AlsRanker final : public Baseline {
 public:
  explicit AlsRanker(const BaselineOptions& options) : options_(options) {}
  void fit(const Dataset& data) override;  // needs has_ranker_scores()
  void score(std::span<const UserMoment> users, float* out) const override;

  double objective() const { return objective_; }

 private:
  BaselineOptions options_;
  int64_t items_ = 0;
  std::vector<float> x_, y_;  // [U, width + 1], the last column 1; [C, width + 1], the last column b
  double objective_ = 0;
};

}  // namespace tt
