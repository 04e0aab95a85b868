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
// in the stream of examples, kept in hash arrays, so memory is bounded whatever the number of items.
//
// Three things are ours. The clock counts examples, so an item may come many times in a batch. The stream is taken to
// have begun `initial_gap` examples before the first one, and the weight of a new gap is 1 / (number of gaps) until
// that falls below `rate`: an item met n times in t examples is estimated at n / (t + initial_gap), not at a guess that
// takes 1 / rate occurrences to forget, and one never met at 1 / (t + initial_gap). And the first array's hash is the
// id itself: with as many slots as items nothing is shared.
//
// Bias: the logarithm of an average of about 2 / rate gaps is low by rate / 4, and spreads by sqrt(rate / 2), so log Q
// is right within a few hundredths once an item has come 1 / rate times; in the n-th occurrence it is high by about
// 1 / (2n). With fewer slots than items, two that share one look more frequent than they are; of several arrays the
// largest gap counts, the one least disturbed.
class FrequencyEstimator {
 public:
  // slots: of each hash array; rate: alpha, the least weight of a new gap; initial_gap: examples that are taken to
  // have gone before, without any of the items: what an unmet item's gap starts from, such as the number of items.
  FrequencyEstimator(int64_t slots, double rate, double initial_gap, int arrays = 2);

  void observe(int64_t item);                     // one example with this item
  void observe(const int64_t* items, int64_t n);  // n examples; what the next ones need is fetched meanwhile
  double probability(int64_t item) const;         // of one draw being this item: 1 / average gap

 private:
  struct Slot {
    double gap = 0;
    int64_t last = -1;  // when the slot was last hit; -1: never
    int64_t hits = 0;
  };
  std::size_t slot(int array, int64_t item) const;

  int64_t slots_, time_ = 0;
  double rate_, initial_gap_;
  int arrays_;
  std::vector<Slot> table_;
};

}  // namespace tt
