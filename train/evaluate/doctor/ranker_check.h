#pragma once
// What a log says of the main ranker whose scores it holds, without knowing the truth: whether they promise as much as
// users gave, for popular items as for rare ones, and whether they put what a user was shown in the user's own order.
// The value of a row is sum_t w_t x_t of its labels, or of its scores.

#include <twotower/train/evaluate/examination.h>
#include <twotower/train/evaluate/serving.h>

#include <array>
#include <cmath>

namespace tt {

// Sums over some rows of the log. The scores speak of an item that is looked at, so a row's are multiplied by the
// examination of its slot. Examination is known relative to the slot looked at most: a factor that all ratios share may
// be that slot's own.
struct Calibration {
  int64_t rows = 0;
  double promised = 0;                                             // examination x the scores' value
  double given = 0;                                                // the labels' value
  double squares = 0;                                              // of the labels' values
  double ratio() const { return promised / given; }                // 1: as users did; above: over-rated
  double log_error() const { return std::sqrt(squares) / given; }  // standard error of log ratio(), as of counts
};

struct RankerCalibration {
  Calibration all;
  // Fifths of the impressions: by how often train shows the item, rarest first; by the scores' value, lowest first.
  std::array<Calibration, 5> by_popularity, by_score;
};

// Over all splits with ranker scores; all zero if there is none.
RankerCalibration calibrate_ranker(const Dataset& data, const ExaminationCurve& examination);

// Of the pairs of items that a user was shown, one worth acting on and one not, the share that an order has the right
// way round; a tie counts half. With y = the labels' value / sum_t w_t in [0, 1] and examination e, the pair (i, j)
// weighs (y_i / e_i) (1 - y_j / e_j): the expectation of that is what it would be had both been looked at (inverse
// propensity scores, Joachims et al. 2017, "Unbiased learning-to-rank with biased feedback", here of pairs). Errors are
// standard errors over users.
struct PairAgreement {
  double ranker = 0, ranker_error = 0;
  double model = 0, model_error = 0;
  double difference_error = 0;  // of model - ranker
  int64_t users = 0;            // who have such a pair; 0: nothing can be said
};
PairAgreement pair_agreement(const ServedDataset& served, Split split, const Ask& ask,
                             const ExaminationCurve& examination);

}  // namespace tt
