#pragma once
// Alignment with a proxy of the main ranker (reward = "proxy"), which scores every pair of the batch:
//   logits_ij = Linear(concat[u_i, v_j, u_i.v_j])    value_ij = sum_t w_t logit_tij / tau_r
// It is fitted on the pairs shown, with u and v constants to that fit; then retrieval is moved towards its
// values, which are constants to that move. Only the proxy's three blocks are needed for all pairs (rank-1
// sums), and what depends on the user alone cancels in every alignment loss.

#include <twotower/autograd/ops/losses/alignment_losses.h>
#include <twotower/layers/linear.h>
#include <twotower/models/batch.h>
#include <twotower/models/config.h>

namespace tt {

template <class T>
class Alignment {
 public:
  Alignment(ParameterSet<T>& parameters, const ModelConfig& config);

  // The proxy's own loss on the pairs shown. u, v: [B, DI]; examination: [B], or empty.
  Variable<T> fit_loss(Tape<T>& tape, Variable<T> u, Variable<T> v, const Batch<T>& batch,
                       Tensor<const T> examination) const;
  // The alignment loss over all pairs, not yet times its weight. v: [M, DI]; `anchor` for the kinds that need
  // one.
  Variable<T> align_loss(Tape<T>& tape, Variable<T> u, Variable<T> v, Variable<T> tau, const Exclusions& exclude,
                         const Anchor<T>* anchor) const;
  // mean_i sum_j pi_ij value_ij of the policy as it stands: what over-optimisation drives up. exclude as
  // above.
  T expected_value(Tape<T>& tape, Tensor<const T> u, Tensor<const T> v, T tau) const;

  const Linear<T>& ranker() const { return simple_ranker_; }

 private:
  PairValue<T> pair_value(Arena& arena, Tensor<const T> v, const Exclusions& exclude) const;

  ModelConfig config_;
  Linear<T> simple_ranker_;  // [T, 2 DI + 1]
};

}  // namespace tt
