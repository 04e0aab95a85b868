#pragma once
// What is true in a simulation before anyone visits: preferences, qualities, popularity, biases, the main
// ranker.

#include <twotower/train/data/features.h>
#include <twotower/train/simulate/latent_scorer.h>
#include <twotower/train/simulate/options.h>

#include <string>
#include <vector>

namespace tt {

// The owned numbers behind a LatentScorer.
struct LatentModel {
  int64_t latent = 0;
  std::vector<float> user, item, quality, task, offset, gain;
  LatentScorer scorer() const {
    return {user.data(), item.data(), quality.data(), task.data(), offset.data(), gain.data(), latent};
  }
};

struct SimulatedWorld {
  LatentModel truth, ranker, policy;   // policy: what the logging policy believes
  std::vector<float> popularity;       // [C], sums to 1
  std::vector<double> popularity_cdf;  // [C]
  std::vector<double> activity_cdf;    // [U], who visits
  std::vector<float> examination;      // [P]
  std::vector<float> propensity;       // [U] in (0, 1]
  std::vector<float> value_weights;    // [T]
  FeatureMatrix user_features, item_features;
};

SimulatedWorld make_world(const SimulatorOptions& options);
void write_truth(const std::string& path, const SimulatedWorld& world, const SimulatorOptions& options);

}  // namespace tt
