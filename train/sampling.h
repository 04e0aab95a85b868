#pragma once
// How often an item turns up among a batch's negatives. In-batch negatives are drawn by popularity, not uniformly; the
// softmax over them becomes the softmax over the corpus when log Q_j, the log of how often item j is expected, is taken
// off its logit (Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations").
//
// What is exact. Row i has the positive y and n negatives, drawn with expected counts N_k (sum: n). Of its softmax's
// denominator, the sum over the corpus
//
//   Z = e^{s_y} + sum_{k != y} e^{s_k},      the batch knows  e^{s_y} + sum_{negatives j that are not y} e^{s_j} / N_j,
//
// whose expectation is Z: the positive is there with certainty and counts once, uncorrected, and what else holds its
// item is masked (Blanc and Rendle 2018, "Adaptive sampled softmax with kernel based sampling"; for in-batch negatives
// Khrylchenko et al. 2025, "Correcting the LogQ correction"). That is the default. Without the mask the positive's item
// is expected N_y times more, so its own column must be corrected like the others (log_q_correct_positive = true, Yi et
// al.'s formula): then the batch knows sum_j e^{s_j} / N_j over all columns, right as N_y grows, too heavy on the
// positive where N_y is small. Mask and corrected positive together converge to something else: the positive weighs
// 1 / N_y of what it should.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tt {

// log of how often an item is expected among `logged` draws from the log, each being it with this probability, and
// `uniform` draws from a corpus of `items` (Yang et al. 2020, "Mixed negative sampling").
double log_expected_count(double logged, double probability, double uniform, double items);

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
