#pragma once
// A ranker small enough to run inside retrieval: NU user vectors U = Linear(user_input) look at a candidate
// v.
//   r = U v [NU]    aware = softmax(r)^T U [DI]    logits = Linear(concat[v, aware, r, u.v])
// With distillation there are 2T logits: the first T learn the labels, the last T the main ranker's scores.

#include <twotower/layers/linear.h>
#include <twotower/models/batch.h>
#include <twotower/models/config.h>

namespace tt {

template <class T>
class LightRanker {
 public:
  LightRanker(ParameterSet<T>& parameters, const ModelConfig& config, int64_t user_input_width);

  // U: [B, NU * DI].
  Variable<T> user_vectors(Tape<T>& tape, const Blocks<T>& user_input) const;
  // Logits of the pairs (row i of U and u, row i of v): [B, T or 2T].
  Variable<T> logits(Tape<T>& tape, Variable<T> user_vectors, Variable<T> u, Variable<T> v) const;

  // Binary cross-entropy of the pairs shown: with the labels, and kd_weight times that with the ranker's
  // scores. With `examination` [B] a label also needs that its slot was looked at.
  struct Loss {
    Variable<T> labels, distillation;  // the second is absent without distillation
  };
  Loss loss(Variable<T> logits, const Batch<T>& batch, Tensor<const T> examination) const;

  // The second of these alone: kd_weight times the cross-entropy of the distilled logits with the ranker's scores.
  Variable<T> distillation(Variable<T> logits, Tensor<const T> ranker_scores) const;

  // One number a pair from its logits: sum_t w_t sigmoid(logit_t), or w_t logit_t; of the logits that learnt the labels
  // or, with ranker_serves = "scores", of the distilled ones.
  T value(const T* logits) const;

 private:
  ModelConfig config_;
  Linear<T> user_tower_, head_;
};

}  // namespace tt
