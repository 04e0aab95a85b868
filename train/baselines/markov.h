#pragma once

#include <twotower/train/baselines/baseline.h>
#include <twotower/train/baselines/known_actions.h>
#include <twotower/train/baselines/matrices/sparse_rows.h>

#include <optional>

namespace tt {

// A Markov chain that skips: what follows an item within a few steps, the nearer the more, as the item-to-item models
// of sequential recommendation count it (Rendle, Freudenthaler and Schmidt-Thieme 2010, "Factorizing personalized
// Markov chains"; the weights by distance as in Ludewig and Jannach 2018, "Evaluation of session-based recommendation
// algorithms", there SR). With s_1, s_2, … a user's training actions in time order:
//   transitions(i, j) = sum over users and places a < b <= a + steps with s_a = i, s_b = j of 1 / (b - a)
//   score(u, j)       = sum over l = 0 .. steps - 1 of decay^l x transitions(h_l, j) / (sum_j' transitions(h_l,
//   j'))^normalisation
// where h_0 is the last item known of u, h_1 the one before it. Only the order of actions is asked, so data whose rows
// have none gives what its files happen to say.
class Markov final : public Baseline {
 public:
  explicit Markov(const BaselineOptions& options) : options_(options) {}
  void fit(const Dataset& data) override;
  void score(std::span<const UserMoment> users, float* out) const override;

 private:
  BaselineOptions options_;
  std::optional<KnownActions> known_;
  SparseRows transitions_;  // normalised
};

}  // namespace tt
