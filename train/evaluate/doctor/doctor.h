#pragma once
// Looks a trained model over and says in plain words what is healthy, what is not, and what to try.

#include <twotower/train/evaluate/metrics.h>

#include <string>
#include <vector>

namespace tt {

struct Finding {
  std::string what;   // what was looked at
  std::string found;  // the numbers, in words
  bool healthy = true;
  std::string advice;  // what to try; empty if healthy
};

// `result` is an evaluation of it with these options.
std::vector<Finding> examine(const ServedDataset& served, const EvaluationResult& result,
                             const EvaluateOptions& options);

}  // namespace tt
