#pragma once
// The reward that retrieval is aligned with: an ensemble of reward models (models/reward_model.h), trained on what the
// log and asked pairs say of the main ranker, then frozen. Members differ by their first weights and by the order of
// their batches; where they differ in what they say of a pair, the log does not tell, and the pair's value is taken
// pessimistically: mean - pessimism x spread, in log-odds (Coste et al. 2024, "Reward model ensembles help mitigate
// overoptimization").

#include <twotower/models/reward_model.h>
#include <twotower/train/batches/list_loader.h>
#include <twotower/train/run/config.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tt {

class Reward {
 public:
  using Progress = std::function<void(int64_t step, int64_t steps, double loss)>;
  // Trains it. A function of the data, the config and its seed. `first`: its first member, where choose_for_lists() has
  // trained it already.
  static Reward train(const Dataset& data, const RunConfig& config, const RankerPairs& pairs,
                      const Progress& progress = {}, std::optional<Reward> first = {});

  // One file with every member's parameters. Loading throws Error for one that is not of this config.
  void save(const std::string& path) const;
  static Reward load(const std::string& path, const Dataset& data, const ModelConfig& model);

  // The value of each entry of the batch's lists, in log-odds: [N], memory from the arena.
  Tensor<const float> values(const ListBatch<float>& batch, Arena& arena) const;

  // How well it knows the ranker, on a split that it has not seen: `pairs` is the share of the pairs of items of one
  // user with different logged values that it puts in the same order, `explained` the share of these values' variance
  // within a user; `predicted` and `logged` are mean probabilities by task. Empty vectors where the split has no logged
  // scores.
  struct Check {
    double pairs = 0, explained = 0;
    std::vector<double> predicted, logged;
  };
  Check check_against(const Dataset& data, const ModelConfig& model, Split split) const;

 private:
  explicit Reward(const ModelConfig& model) : pessimism_(model.reward_pessimism), weights_(model.user_value_weights) {}
  void freeze(const Dataset& data);                  // once the members are as they shall be
  using Encoded = std::vector<Tensor<const float>>;  // the batch's users by each member
  Encoded encode(const ListBatch<float>& batch, Arena& arena) const;
  void member_probabilities(const ListBatch<float>& batch, const Encoded& users, size_t m, int64_t row, int64_t entry,
                            float* out) const;

  double pessimism_;
  std::vector<double> weights_;
  std::vector<std::unique_ptr<RewardModel<float>>> members_;
  std::vector<std::vector<float>> items_;  // of each member, [C, width]
};

// Sets what the config leaves open, list_recency and, for a model that is aligned with a reward, reward_weight_decay,
// to that with which one reward model explains best what the ranker said of the validation split's users. A
// list_recency of 1 is right where interests stand still, less where those of late tell more; a weight decay of 0.03
// where the logged scores are the ranker's very words, ten times that where they are noisy. Where the split has no
// scores they stay open, which counts as 1 and 0.03. (How it orders pairs would tell less: in a drifting world all are
// right about the easy ones.) Returns the best of the models trained to find out where it is the first member of the
// reward that the config now describes: nothing was asked, so that the log is all there is.
std::optional<Reward> choose_for_lists(const Dataset& data, RunConfig& config, const RankerPairs& pairs);

// How likely the slot of each of the split's impressions was looked at; empty for a log without positions.
std::vector<float> examination_of(const Dataset& data, Split split);

}  // namespace tt
