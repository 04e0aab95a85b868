#pragma once
// A baseline that scores, as an order of the items on offer: by score, ties by the number of training positives and
// then by smaller row. So a user of whom a method knows nothing gets the most popular items.

#include <twotower/train/baselines/baseline.h>
#include <twotower/train/evaluate/rankings/rankings.h>

namespace tt {

class BaselineRanking : public Ranking {
 public:
  // The baseline is fitted; both must outlive this.
  BaselineRanking(const Baseline& baseline, const Dataset& data);
  void top(std::span<const UserMoment> users, int64_t k, const UserItems* seen, TopItems& out) override;
  void first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                   const std::vector<int64_t>& after, int64_t* ranks) override;
  bool score(const UserMoment& user, std::span<const int64_t> items, float* out) override;

 private:
  // Calls f(user's place, scores by popularity [order_.size()], NaN for seen items) for each, several at once.
  template <class F>
  void for_each(std::span<const UserMoment> users, const UserItems* seen, F f);

  const Baseline& baseline_;
  int64_t items_;
  std::vector<int32_t> order_, place_;  // the items on offer, most popular first; [C] each item's place in it, or -1
  std::vector<float> scores_;
};

}  // namespace tt
