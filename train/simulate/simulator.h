#pragma once
// Makes a dataset whose truth is known: latent preferences, features that are noisy views of them, Zipf
// popularity, slates shown by a biased logging policy, examination by position, user propensity, labels of
// different rarity, and the main ranker's logged scores. See truth.h for how a label is drawn. The result
// depends on the options only, never on the number of threads.

#include <cstdint>
#include <string>

namespace tt {

struct SimulatorOptions {
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
  uint64_t seed = 1;
};

// Writes the dataset folder with truth.safetensors in it. Error for options out of their range, and as
// write_dataset.
void simulate(const std::string& dir, const SimulatorOptions& options);

}  // namespace tt
