#pragma once
// What can be chosen of a simulated world and its log.

#include <cstdint>
#include <string>

namespace tt {

struct SimulatorOptions {
  std::string world = "static";  // static or drifting: whether interests, users and items come and go (docs/worlds.md)
  int64_t users = 2000, items = 1000, impressions = 100000, tasks = 3;
  int64_t positions = 10;          // slots of a slate
  int64_t latent = 8;              // size of the true preference vectors
  int64_t features = 16;           // numeric features a user and an item, beside one category
  double feature_noise = 0.7;      // standard deviation of what hides the preferences in the features
  double zipf = 0.9;               // exponent of item popularity in the log; 0 is uniform
  double policy_relevance = 1.0;   // how well the logging policy knows relevance; 0 is not at all
  double policy_order = 1.0;       // how strongly popular items go to the upper slots
  double examination_decay = 0.7;  // examination(p) = 1 / (1 + p)^decay
  double propensity_spread = 0.5;  // log-normal spread of user propensity
  double ranker_noise = 0.35;      // noise of the main ranker's view of the preferences
  double ranker_popularity_bias =
      0;                    // a wrong ranker: its logits + this * standardised log popularity, not recalibrated
  double score_noise = 0;   // standard deviation of noise on the logits of the logged scores alone
  double sparse_users = 0;  // share of the users, in three equal groups, of whose training rows only the last
                            // 1, 3 and 10 are kept
  uint64_t seed = 1;

  bool drifting() const { return world == "drifting"; }
  int64_t visits() const { return (impressions + positions - 1) / positions; }
  int64_t train_visits() const { return visits() * 8 / 10 > 1 ? visits() * 8 / 10 : 1; }  // the first 80 %
};

}  // namespace tt
