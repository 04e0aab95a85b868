#pragma once
// The main ranker in the loop: which pairs are worth asking it about, and asking it where it is a function.
//
//   train -> choose_candidates -> the ranker -> RankerPairs -> train, with TrainOptions::ranker_pairs
//
// A log knows the ranker's word on what an older policy showed. What the present policy would show, and why it should
// not, only the ranker can say: half of the candidates are the policy's own best items, the other half are drawn from
// all.

#include <twotower/train/data/ranker_pairs.h>
#include <twotower/train/evaluate/serving.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace tt {

struct Pairs {
  std::vector<int32_t> user, item;  // [N] rows
  int64_t size() const { return static_cast<int64_t>(user.size()); }
};

struct CandidateOptions {
  int64_t per_user = 100;  // pairs a user; fewer where fewer are left
  double share = 0;      // > 0: instead of per_user so large a share of all pairs of the users, spread evenly over them
  double uniform = 0.5;  // share of each user's pairs that is drawn uniformly; the rest is the policy's own
  uint64_t seed = 1;
};

// User after user in the order asked for: the policy's best first, then the uniform ones.
struct CandidatePairs {
  Pairs pairs;
  std::vector<uint8_t> uniform;  // [N] 1: drawn uniformly, 0: the policy's
};

// The moment as of which the ranker is asked: the latest time of the train split.
double end_of_training(const Dataset& data);

// Pairs of which the ranker's word is known: those of the train split if it holds ranker scores, and `asked`.
UserItems scored_items(const Dataset& data, const RankerPairs& asked);

// The policy is the two towers alone, for each user as of the end of the training log: a light ranker only orders what
// they find. None of `scored` is among the candidates, nor an item that is not on offer, and no pair is there twice
// unless a user is.
CandidatePairs choose_candidates(const ServedDataset& served, std::span<const int64_t> users, const UserItems& scored,
                                 const CandidateOptions& options);

// A ranker that is a function: the probabilities of each task, scores [items, T], of a user as of the end of the
// training log. Rows are those of the dataset.
using RankerCallback = std::function<void(int64_t user, std::span<const int64_t> items, std::span<float> scores)>;

// Asks about all pairs, once a user. Error "[ranker] ..." for a score that is left out or outside [0, 1].
RankerPairs ask_ranker(const Pairs& pairs, int64_t tasks, const RankerCallback& ranker);

}  // namespace tt
