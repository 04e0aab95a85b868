#pragma once
// Batches whose rows are users, each with all items it acted on in training (train.rows = "users"). Against a
// full softmax over the corpus the positives of one user share one row of scores: an epoch costs a row a user
// instead of a row an impression, for the same loss. That holds where a user's vector is the same for all
// impressions, so not with a history as of each.

#include <twotower/models/batch.h>
#include <twotower/models/config.h>
#include <twotower/train/batches/options.h>
#include <twotower/train/data/dataset.h>

#include <vector>

namespace tt {

class UserRows {
 public:
  // impressions: rows of the training split with value. Throws Error for a model that must see single
  // impressions.
  UserRows(const Dataset& data, const ModelConfig& model, const BatchOptions& train,
           const std::vector<int64_t>& impressions);

  const std::vector<int64_t>& users() const { return users_; }  // those with an impression among the given
  // Positives and values of a batch with these users; a user with n positives has value n^user_weight_power.
  void fill(Batch<float>& batch, const int64_t* users, int64_t n, Arena& arena) const;

 private:
  std::vector<int64_t> users_, offsets_;  // offsets_: [U + 1]
  std::vector<int32_t> items_;            // by user, ascending, none twice
  std::vector<float> value_;              // [U] what the user's row is worth
  bool compete_;
};

}  // namespace tt
