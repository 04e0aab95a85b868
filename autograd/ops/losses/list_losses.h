#pragma once
// Losses over each row's own list of entries (lists.h): scores s [N], of which row i has s[offsets[i] .. offsets[i +
// 1]). All that is not the scores is constant to the gradient, and has one number an entry.
//
// Entries whose target or value is NaN take no part: the rest is what it would be without them. Rows of which no entry
// takes part do not count in the mean over rows, and if none counts the loss and its gradient are 0.

#include <twotower/autograd/ops/losses/lists.h>

namespace tt {

// Point-wise: the mean over rows of the weighted mean over the list of the squared error,
//   x_i = sum_k w_k (s_k - target_k)^2 / sum_k w_k        loss = sum_i W_i x_i / sum_i W_i
// with w = weight [N] and W = row_weight [B]; empty: all 1. An entry of weight 0 takes no part.
template <class T>
Variable<T> list_squared_error(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> target,
                               Tensor<const T> weight, Tensor<const T> row_weight = {});

// Pair-wise: the same, but for a constant of its own that each row adds to its targets, the best one:
//   b_i = sum_k w_k (s_k - target_k) / sum_k w_k          x_i = sum_k w_k (s_k - target_k - b_i)^2 / sum_k w_k
// which is margin MSE (Hofstaetter et al. 2020, arXiv 2010.02666) over all pairs of the list in time linear in its
// length, a variance being half of the mean squared difference:
//   x_i = 1/2 sum_kl w_k w_l ((s_k - s_l) - (target_k - target_l))^2 / (sum_k w_k)^2
template <class T>
Variable<T> list_margin(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> target,
                        Tensor<const T> weight, Tensor<const T> row_weight = {});

// List-wise: the mean over rows of KL(q || pi), which is ListNet's cross entropy (Cao et al. 2007, "Learning to rank:
// from pairwise approach to listwise approach") less the entropy of q, which no score moves:
//   q = softmax(target - log_q)    pi = softmax(s - log_q)    x_i = sum_k q_k (log q_k - log pi_k)
// A target of -inf makes q_k 0.
// log_q [N] or empty: the log of how likely each entry was to be drawn into its list. With it both sides estimate
// distributions over the whole corpus (sampled softmax, Bengio & Senecal 2008).
template <class T>
Variable<T> list_kl(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> target, Tensor<const T> log_q);

// Expected reward under the policy, held near a frozen anchor (Ziegler et al. 2019, arXiv 1909.08593):
//   pi = softmax(s - log_q)   pi0 = softmax(anchor - log_q)   x_i = -(sum_k pi_k value_k - beta KL(pi || pi0))
template <class T>
Variable<T> list_reward(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> value,
                        Tensor<const T> anchor, Tensor<const T> log_q, std::type_identity_t<T> beta);

// Direct preference optimisation with several losers (softmax-DPO, Chen et al. 2024, arXiv 2406.09215). A row's winners
// are its `winners` entries of highest value (of equals the first), each with all entries of lower value as its losers:
//   r_k = beta (s_k - anchor_k)
//   x_i = mean over winners w of -log sigmoid(-log sum_{losers k} exp(r_k - r_w))
//       = mean over winners w of -log ( exp(r_w) / (exp(r_w) + sum_{losers k} exp(r_k)) )
// One loser is DPO (Rafailov et al. 2023). Entries of equal value are not each other's losers; a winner without losers
// is left out, and a row of none but such does not count.
template <class T>
Variable<T> list_dpo(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> value, Tensor<const T> anchor,
                     std::type_identity_t<T> beta, int64_t winners);

}  // namespace tt
