#pragma once
// What the simulator knows and a model has to find out, read from truth.safetensors beside the log. The label
// of an impression was drawn from Bernoulli(examination(position) * propensity(user) * true_probability(user,
// item, task)).

#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/simulate/latent_scorer.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tt {

class Truth {
 public:
  // Error when the dataset was not made by `simulate`, or the truth beside it is another dataset's.
  static Truth load(const Dataset& data);

  int64_t num_users() const { return users_; }
  int64_t num_items() const { return items_; }
  int64_t num_tasks() const { return tasks_; }
  int64_t num_positions() const { return positions_; }
  const std::vector<float>& value_weights() const { return weights_; }  // [T]
  const float* popularity() const { return popularity_; }  // [C], what the logging policy starts from; sums to 1

  // Relevance alone, as if every item were examined by an average user, as of a moment: a time of the log, between the
  // first impression and any time after the last. In a static world all moments are alike.
  double true_probability(int64_t user, double time, int64_t item, int64_t task) const;
  double true_value(int64_t user, double time, int64_t item) const;                    // sum_t w_t * true_probability
  void true_values(int64_t user, double time, float* out) const;                       // out [C], one user's whole row
  void true_probabilities(int64_t user, double time, int64_t task, float* out) const;  // out [C]

  double examination(int64_t position) const;  // 1 at position 0; the last value beyond the slate
  double propensity(int64_t user) const;       // in (0, 1]

  // The main ranker: a noisy, calibrated view of true_probability. The same function that made the logged
  // scores.
  double ranker_probability(int64_t user, double time, int64_t item, int64_t task) const;
  double ranker_value(int64_t user, double time, int64_t item) const;  // sum_t w_t * ranker_probability
  void ranker_values(int64_t user, double time, float* out) const;     // out [C]
  void ranker_probabilities(int64_t user, double time, int64_t task, float* out) const;  // out [C]

 private:
  LatentScorer read_scorer(const std::string& prefix) const;
  void read_rows(const std::string& where);
  int64_t row(int64_t user, double time) const;  // of the users' vectors
  double value(const LatentScorer& scorer, int64_t row, int64_t item) const;
  void check_pair(int64_t user, int64_t item, int64_t task) const;

  SafetensorsFile file_;
  const int64_t* user_offsets_ = nullptr;  // [U + 1], null in a static world
  const double* user_since_ = nullptr;     // [rows]
  int64_t users_ = 0, rows_ = 0, items_ = 0, tasks_ = 0, latent_ = 0, positions_ = 0;
  std::vector<float> weights_;
  LatentScorer truth_, ranker_;
  const float *examination_ = nullptr, *propensity_ = nullptr, *popularity_ = nullptr;
};

}  // namespace tt
