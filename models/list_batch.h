#pragma once
// Users with lists of items, and what is known of each pair: what those parts learn from that compare many items of one
// user at a time (distillation into the towers, the reward model, alignment). A user is encoded once for a whole list,
// where an impression log has the same user anew in every row.

#include <twotower/autograd/ops/losses/list_losses.h>
#include <twotower/models/batch.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace tt {

template <class T>
struct ListBatch {
  UserInputs<T> user;             // [B] users, each as of some moment
  ItemInputs<T> item;             // [M] the items that the lists hold, each once
  Lists lists;                    // offsets [B + 1], columns [N] into the items
  Tensor<const T> ranker_scores;  // [N, T] what the main ranker said; NaN where it was not asked. Or empty
  Tensor<const T> labels;         // [N, T] what the user did; NaN where the item was not shown. Or empty
  Tensor<const T> examination;    // [N] how likely the slot was looked at; empty: all alike
  Tensor<const T> value;          // [N] what a reward model makes of the pair, in log-odds; or empty
  Tensor<const T> log_q;          // [N] log of how often the entry is expected in the list; empty: all are there

  int64_t size() const { return user.id.numel(); }
};

// The row of each entry: [N].
inline Tensor<const int64_t> row_of_entries(const Lists& lists, Arena& arena) {
  const Tensor<int64_t> row_of = make_tensor<int64_t>(arena, {lists.columns.numel()});
  for (int64_t i = 0; i + 1 < lists.offsets.numel(); ++i)
    std::fill(row_of.data() + lists.offsets[i], row_of.data() + lists.offsets[i + 1], i);
  return row_of;
}

// The log-odds of a probability, which is taken to lie within [1e-4, 1 - 1e-4]: a score that was rounded to 0 or 1 says
// no more than that. NaN stays NaN.
template <class T>
T log_odds(T p) {
  if (std::isnan(p)) return p;
  p = std::clamp(p, T(1e-4), T(1 - 1e-4));
  return std::log(p / (1 - p));
}

// Two ways of making one number of a pair's probabilities [T], in log-odds.
// Their logits' mean, weighted by w: where each task's logits are an inner product of tastes and items, so is this, and
// towers of the same width can say it exactly. Its order is nearly, not quite, that of the value.
template <class T>
T mean_log_odds(const T* probabilities, const std::vector<double>& w) {
  T sum = 0, weights = 0;
  for (size_t t = 0; t < w.size(); ++t)
    sum += static_cast<T>(w[t]) * log_odds(probabilities[t]), weights += static_cast<T>(w[t]);
  return sum / weights;
}
// The log-odds of their mean, which has the order of the value sum_t w_t p_t itself.
template <class T>
T value_log_odds(const T* probabilities, const std::vector<double>& w) {
  T sum = 0, weights = 0;
  for (size_t t = 0; t < w.size(); ++t) sum += static_cast<T>(w[t]) * probabilities[t], weights += static_cast<T>(w[t]);
  return log_odds(sum / weights);
}

}  // namespace tt
