#pragma once
// One user's measures, from what was returned to the user. metrics.h says what each name means.

#include <twotower/models/retrieval/exact.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/simulate/truth.h>

#include <optional>

namespace tt {

// What the dataset says of items and users, beside the split itself.
struct CorpusFacts {
  CorpusFacts(const Dataset& data, bool with_truth);
  int64_t items = 0;
  const int64_t* positives = nullptr;  // [C] training positives
  double lift_base = 0;                // mean of `positives` over the training positives; 0: there are none
  std::vector<uint8_t> head;           // [C] 1: the most popular items that make up half of the training positives
  std::vector<uint8_t> warm_user;      // [U] 1: has training positives
  std::optional<Truth> truth;
  std::vector<float> weights;  // [T] label weights, for logged ranker scores
};

inline constexpr int64_t kFunnelN = 10;       // the ranker's own top N
inline constexpr int64_t kTrueRelevant = 20;  // items of highest true value that count as relevant

struct UserResult {
  int64_t user;
  std::span<const int64_t> returned;  // best first
  std::span<const int64_t> expected;  // ascending, not empty
  std::span<const int32_t> seen;      // left out of the corpus for this user
  int64_t first_rank;                 // of the first expected item in the whole order; 0: it has none
};

// Accuracy, breakdown and lift; then, where there is a truth, funnel agreement and true measures. The names stand in
// the order in which the values are written; NaN is written where a user has no such value.
std::vector<std::string> accuracy_names(const std::vector<int64_t>& ks);
void accuracy_values(const CorpusFacts& facts, const std::vector<int64_t>& ks, const UserResult& user, float* out);

std::vector<std::string> truth_names(const std::vector<int64_t>& ks);
// scratch: keeps its memory from user to user.
struct TruthScratch {
  std::vector<float> values, best;
  std::vector<int64_t> rows;
  std::vector<int32_t> place;  // [C]
};
void truth_values(const CorpusFacts& facts, const std::vector<int64_t>& ks, const UserResult& user,
                  TruthScratch& scratch, float* out);

}  // namespace tt
