#pragma once

#include <twotower/train/baselines/baseline.h>
#include <twotower/train/baselines/known_actions.h>
#include <twotower/train/baselines/matrices/sparse_rows.h>

#include <optional>

namespace tt {

// Neighbours among items (Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms"; the
// shrinkage as in Ferrari Dacrema et al. 2019, "Are we really making much progress?"). With U_i the users who acted on
// i in training:
//   similarity(i, j) = |U_i and U_j| / (sqrt(|U_i| |U_j|) + shrinkage)
//   score(u, j)      = sum of similarity(i, j) over the items i known of u that are among the most similar ones to j
class ItemKnn final : public Baseline {
 public:
  explicit ItemKnn(const BaselineOptions& options) : options_(options) {}
  void fit(const Dataset& data) override;
  void score(std::span<const UserMoment> users, float* out) const override;

 private:
  BaselineOptions options_;
  std::optional<KnownActions> known_;
  SparseRows speaks_for_;  // row i: the items j among whose neighbours i is
};

}  // namespace tt
