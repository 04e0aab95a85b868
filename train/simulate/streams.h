#pragma once
// The simulator's streams of random numbers: one for each purpose, so that nothing depends on the order of the work.

#include <cstdint>

namespace tt {

enum Stream : uint64_t {
  kUserLatent,
  kItemLatent,
  kItemQuality,
  kTask,
  kPopularity,
  kActivity,
  kPropensity,
  kPairs,
  kRankerUser,
  kRankerItem,
  kRankerQuality,
  kPolicyUser,
  kPolicyItem,
  kPolicyQuality,
  kVisitors,
  kUserBirths,
  kItemLives,
  kSessions,
  kSlowInterest,
  kVisitInterest,
  kSessionThemes,
  kThemeCentres,
  kItemThemes,
  kSparseUsers,
  kUserFeatures = 100,
  kItemFeatures = 200,  // three each
  // One a visit, and each visit has two.
  kVisit = uint64_t{1} << 32,
  kScoreNoise = uint64_t{1} << 40,
};

}  // namespace tt
