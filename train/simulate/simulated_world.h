#pragma once
// What is true in a simulation before anyone visits: preferences, qualities, popularity, biases, the main
// ranker.

#include <twotower/train/data/features.h>
#include <twotower/train/simulate/drift.h>
#include <twotower/train/simulate/latent_scorer.h>
#include <twotower/train/simulate/options.h>

#include <string>
#include <vector>

namespace tt {

// The owned numbers behind a LatentScorer.
struct LatentModel {
  int64_t latent = 0;
  std::vector<float> user, item, quality, task, offset, gain, shift;
  LatentScorer scorer() const {
    return {user.data(),
            item.data(),
            quality.data(),
            task.data(),
            offset.data(),
            gain.data(),
            shift.empty() ? nullptr : shift.data(),
            latent};
  }
};

// Who comes when, one visit after the other. A visit's row is that of the users' vectors that tells the visitor's
// interests then: in a static world the user.
struct Visits {
  std::vector<int32_t> user;                                                               // [V]
  std::vector<int64_t> row;                                                                // [V]
  static double time(int64_t visit) { return 1.7e9 + 60.0 * static_cast<double>(visit); }  // seconds
};

struct SimulatedWorld {
  Visits visits;
  LatentModel truth, ranker, policy;   // policy: what the logging policy believes
  std::vector<float> popularity;       // [C], sums to 1
  std::vector<double> popularity_cdf;  // [C]
  Interests interests;                 // of a drifting world, without the vectors, which `truth` has
  Catalogue catalogue;                 // of a drifting world
  std::vector<float> examination;      // [P]
  std::vector<float> propensity;       // [U] in (0, 1]
  std::vector<float> value_weights;    // [T]
  FeatureMatrix user_features, item_features;
};

SimulatedWorld make_world(const SimulatorOptions& options);
void write_truth(const std::string& path, const SimulatedWorld& world, const SimulatorOptions& options);

}  // namespace tt
