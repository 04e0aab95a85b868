#pragma once
// How batches are made: these keys of the [train] table (train/run/config.h).

#include <cstdint>
#include <string>

namespace tt {

struct BatchOptions {
  int64_t batch_size = 1024;
  int64_t seed = 1;
  std::string rows = "auto";     // "all" impressions, or only those with "positive" value; "auto": all of them if
                                 // some part of the model learns from rows without value
                                 // "users": a row a user with all its positives, for full_softmax
                                 // "sequences": as "auto", a user's moments from one pass of a causal history encoder
  double user_weight_power = 1;  // rows "users": one with n positives weighs n^p; 1: positives count alike, 0: users do
  // Share of ids hidden, so that features and history learn to stand alone; none where an id is all that is known.
  // user_id_dropout = 1: users are known by features and history alone.
  double user_id_dropout = 0.3, item_id_dropout = 0;
  double dropout = 0;  // share of the elements of user and history embeddings zeroed, the others scaled up
  // Lists (list_loader.h), for models that learn from them.
  int64_t list_users = 100;      // lists a batch
  double list_recency = 0;       // a user's k-th list from the last is recency^k times as likely in a pass as the last
                                 // one; 0: what serves the validation split best
  int64_t list_impressions = 0;  // a list's, in time order; 0: all of the user's, with a list_recency below 1 20
  int64_t list_policy = 32;      // items of the policy's own best in a list, for alignment
  int64_t list_uniform = 64;     // items drawn uniformly
  bool prefetch = true;          // a thread prepares the next batch while this one trains
};

}  // namespace tt
