#pragma once
// What a row of a log says. There are two questions, and each has its one answer here:
//
//   acted_on    Did the user do anything with the item: is any label above 0? Histories, popularity, what a user has
//               left to like (the ground truth of the measures), masks of a user's own items, and the last action that
//               leave-last-out takes out go by it. It belongs to the data.
//   has_value   Was it worth anything: is v = sum_t w_t label_t above 0? Training without debiasing learns from these
//               rows alone, since a row weighs v in the loss. It belongs to the model, whose weights w it takes.
//
// They differ where a label has weight 0: such an action is history, and trains nothing.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tt {

// labels: [tasks]
inline bool acted_on(const float* labels, int64_t tasks) {
  return std::any_of(labels, labels + tasks, [](float label) { return label > 0; });
}

// The net user value v of a row; labels: as many as there are weights.
template <class Weight>
double net_user_value(const float* labels, const std::vector<Weight>& weights) {
  double value = 0;
  for (size_t t = 0; t < weights.size(); ++t) value += static_cast<double>(weights[t]) * static_cast<double>(labels[t]);
  return value;
}

template <class Weight>
bool has_value(const float* labels, const std::vector<Weight>& weights) {
  return net_user_value(labels, weights) > 0;
}

}  // namespace tt
