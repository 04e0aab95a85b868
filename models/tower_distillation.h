#pragma once
// The main ranker's scores into the towers themselves, so that the inner product, by which retrieval works, has the
// ranker's order; the light ranker's distillation leaves the towers nearly as they are. For a user's list of scored
// items, with s_k = u . v_k / tau and y_k the weighted mean of the logits of the item's scores (mean_log_odds):
//
//   points    squared error of  scale s_k + level(u)  against y_k     scale learnt, level(u) = Linear(u): calibrated
//   margins   squared error of all differences  s_k - s_l  against  y_k - y_l  of one list: what orders items
//   lists     KL( softmax_k(y) || softmax_k(s) ): weighs the top of the list
//
// An item's bias needs no column of its own: the towers' heads have biases, and u holds the constant b_u of which b_u .
// v is a number a item.

#include <twotower/layers/linear.h>
#include <twotower/models/config.h>
#include <twotower/models/list_batch.h>

#include <optional>

namespace tt {

template <class T>
class TowerDistillation {
 public:
  TowerDistillation(ParameterSet<T>& parameters, const ModelConfig& config);

  // Not yet times its weight. u: [B, DI]; scores: [N] of the batch's lists, over the temperature.
  Variable<T> loss(Tape<T>& tape, Variable<T> u, Variable<T> scores, const ListBatch<T>& batch) const;

 private:
  ModelConfig config_;
  Parameter<T>* scale_ = nullptr;  // [1]
  std::optional<Linear<T>> level_;
};

}  // namespace tt
