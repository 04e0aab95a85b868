#pragma once
// How often an item turns up among a batch's negatives. In-batch negatives are drawn by popularity, not uniformly; the
// softmax over them becomes the softmax over the corpus when log Q_j, the log of item j's sampling probability, is
// taken off its logit (Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations").

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tt {

// Streaming frequency estimation (the same paper, algorithm 2): for each item the average gap between its occurrences
// in the stream of examples, kept in hash arrays, so memory is bounded whatever the number of items. Two items that
// share a slot look more frequent than they are; with several arrays the largest gap is the one least disturbed.
class FrequencyEstimator {
 public:
  // slots: of each hash array; rate: alpha, the weight of a new gap; initial_gap: assumed before the first one.
  FrequencyEstimator(int64_t slots, double rate, double initial_gap, int arrays = 2);

  void observe(int64_t item);              // one example with this item
  double probability(int64_t item) const;  // of one draw being this item: 1 / average gap

 private:
  struct Slot {
    double gap;
    int64_t last;  // when the slot was last hit; -1: never
  };
  std::size_t slot(int array, int64_t item) const;

  int64_t slots_, time_ = 0;
  double rate_;
  int arrays_;
  std::vector<Slot> table_;
};

}  // namespace tt
