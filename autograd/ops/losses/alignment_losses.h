#pragma once
// Losses that move retrieval's distribution over the item columns of a batch towards the values that the main
// ranker's stand-in gives the pairs. As retrieval_losses.h, on panels of rows: no [B, M] matrix is stored.
//
//   dot_ij = u_i . v_j    s_ij = dot_ij / tau    pi_i = softmax_j(s_i)
//   value_ij = column_value_j + dot_value * dot_ij, constant to the gradient
//
// What of a value depends on i alone cancels in every one of these losses.

#include <twotower/autograd/ops/losses/retrieval_losses.h>

namespace tt {

template <class T>
struct PairValue {
  Tensor<const T> column_value;  // [M]
  T dot_value = 0;
  Exclusions exclude;
};

// mean_i KL( softmax_j(value_i) || pi_i ), without log Q on either side: both are distributions over the same
// columns.
template <class T>
Variable<T> alignment_kl(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value);

// A frozen copy of the towers, against which a policy may not drift too far.
template <class T>
struct Anchor {
  Tensor<const T> u, v;  // [B, D], [M, D]
  T tau = 1;
};

// -mean_i ( sum_j pi_ij value_ij - beta * KL(pi_i || pi0_i) ): expected reward under the policy, held near
// the anchor (Ziegler et al. 2019).
template <class T>
Variable<T> alignment_reward(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value,
                             const Anchor<T>& anchor, std::type_identity_t<T> beta);

// Direct preference optimisation (Rafailov et al. 2023): mean over pairs of columns (j, j + t mod M), t = 1
// .. strides, of -log sigmoid( beta * [(s_ij - s_ik) - (s0_ij - s0_ik)] ) with j, k ordered so that value_ij
// > value_ik. The softmax's normaliser cancels, so log pi differences are score differences. Ties are left
// out.
template <class T>
Variable<T> alignment_dpo(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value,
                          const Anchor<T>& anchor, std::type_identity_t<T> beta, int64_t strides = 8);

}  // namespace tt
