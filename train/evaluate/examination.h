#pragma once
// How likely each slot of a log's slates is looked at, from the log alone: what measures on its clicks need to weigh a
// click in a slot that few look at as more than one in the first.

#include <twotower/train/data/dataset.h>

#include <vector>

namespace tt {

// The position-based model of clicks (Richardson et al. 2007, "Predicting clicks"; Craswell et al. 2008, "An
// experimental comparison of click position-bias models"): a user acts on item i in slot p with probability
// examination[p] x r_i. Both are fitted in turn to the training split's counts (maximum likelihood of Poisson counts),
// so that an item that only ever stood at the top is not taken for a slot's merit. Which users a slot's rows belong to
// is not told apart.
//
// Index: the slot, the last one for all that come after. Relative to the largest, and at least kLeastExamination: a
// click counts at most 1 / that. `unknown` is the mean over the split's rows, for those without a position and
// for slots that it never used. Empty for a dataset without positions.
struct ExaminationCurve {
  std::vector<double> slots;
  double unknown = 1;
  double of(int32_t position) const;
};
inline constexpr double kLeastExamination = 0.05;
ExaminationCurve estimate_examination(const Dataset& data);

}  // namespace tt
