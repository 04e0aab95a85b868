#pragma once
// Whatever puts the corpus in an order for a user, so that a model and the baselines are measured by the same code.

#include <twotower/train/evaluate/serving.h>

namespace tt {

class Ranking {
 public:
  virtual ~Ranking() = default;
  // The k best items of each user; seen: items to leave out by user row, or null.
  virtual void top(std::span<const UserMoment> users, int64_t k, const UserItems* seen, TopItems& out) = 0;
  // The place of the first relevant item of each user in the whole order, for users of whom none was among the first
  // `after[i]`; 0 where the order has no more places. relevant: a list a user, never empty.
  virtual void first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                           const std::vector<int64_t>& after, int64_t* ranks) = 0;
  // Scores of given items, higher is better; false if the order has none.
  virtual bool score(const UserMoment&, std::span<const int64_t>, float*) { return false; }
};

// By the very path that serves, asked so but for k. With a light ranker, which orders only its candidates,
// first_ranks() knows no place.
class ModelRanking : public Ranking {
 public:
  explicit ModelRanking(const ServedDataset& served, const Ask& ask = {}) : served_(served), ask_(ask) {}
  void top(std::span<const UserMoment> users, int64_t k, const UserItems* seen, TopItems& out) override;
  void first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                   const std::vector<int64_t>& after, int64_t* ranks) override;
  bool score(const UserMoment& user, std::span<const int64_t> items, float* out) override;

 private:
  const ServedDataset& served_;
  Ask ask_;
  Session session_;
};

// Everyone gets the items with the most training positives in the last `share` of the time that train spans, ties by
// those of all time and then by smaller row. A share of 1 is all of train.
class PopularityRanking : public Ranking {
 public:
  explicit PopularityRanking(const Dataset& data, double share = 1);
  void top(std::span<const UserMoment> users, int64_t k, const UserItems* seen, TopItems& out) override;
  void first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                   const std::vector<int64_t>& after, int64_t* ranks) override;

 private:
  std::vector<int32_t> order_, place_;  // the items on offer, best first; [C] each item's place in it
  std::vector<int64_t> positives_;      // [C] of the time that counts
};

// A random order a user, the same for the same seed.
class RandomRanking : public Ranking {
 public:
  RandomRanking(const Dataset& data, uint64_t seed);
  void top(std::span<const UserMoment> users, int64_t k, const UserItems* seen, TopItems& out) override;
  void first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                   const std::vector<int64_t>& after, int64_t* ranks) override;

 private:
  const Dataset& data_;
  std::vector<int64_t> corpus_;  // the items on offer
  uint64_t seed_;
};

}  // namespace tt
