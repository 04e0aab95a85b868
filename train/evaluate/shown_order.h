#pragma once
// How a model orders what a user was shown in a split, beside what the log says of the same items: the main ranker's
// scores, and the labels.

#include <twotower/train/data/dataset.h>
#include <twotower/train/evaluate/examination.h>
#include <twotower/train/evaluate/rankings/rankings.h>

#include <limits>
#include <vector>

namespace tt {

// Of one user; NaN where the log does not tell.
struct ShownOrder {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double kendall = kNone,
         pairs = kNone;  // against the logged scores' values: Kendall's tau-b, and the share of pairs that agree
  // The share of pairs with different values of the labels that the model puts in the labels' order. A pair counts 1 /
  // examination of the slot of its better item: what was acted on where few look would be acted on more often.
  double label_pairs = kNone;
};

class ShownItems {
 public:
  // weights: [T] of the labels. scores: whether to read the logged scores.
  ShownItems(const Dataset& data, Split split, std::vector<float> weights, ExaminationCurve examination, bool scores);

  ShownOrder order(Ranking& ranking, const UserMoment& user) const;
  // Whether the user's labels, or logged scores, differ in value: whether there is an order to agree with.
  bool labels_differ(int64_t user) const { return differ(log_.labels, user); }
  bool scores_differ(int64_t user) const { return scores_ && differ(log_.ranker_scores, user); }

 private:
  float value(const float* columns, int64_t row) const;  // of [N, T] labels or scores
  bool differ(const float* columns, int64_t user) const;
  double label_pairs(const int64_t* rows, const std::vector<float>& labels, const std::vector<float>& model) const;

  const Impressions& log_;
  std::vector<float> weights_;
  ExaminationCurve examination_;
  bool scores_;
  std::vector<int64_t> offsets_, rows_;  // the split's impressions by user
};

}  // namespace tt
