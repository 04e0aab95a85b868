#pragma once
// Multi-head attention over sequences of any length, stored one after another without padding: sequence s is rows
// [offsets[s], offsets[s+1]). Vaswani et al. 2017: per head, softmax(Q K^T / sqrt(d)) V with d = D / heads.

#include <twotower/autograd/tape.h>

namespace tt {

// A whole layer, [N, D] -> [N, D]: y = attention(x W_in^T + b_in) W_out^T + b_out with w_in: [3D, D] (Q | K |
// V) and w_out: [D, D]. A group of sequences goes through all three while it is in the cache, and scores are
// never stored: the backward pass makes them again.
// With a distance_bias, [heads, distances], attention is causal: a row attends to itself and to older rows, those from
// it on in its sequence (the newest is the first), and distance_bias[h, j] is added to its score of the row j further
// on.
template <class T>
Variable<T> multihead_attention(Variable<T> x, Variable<T> w_in, Variable<T> b_in, Variable<T> w_out, Variable<T> b_out,
                                Tensor<const int64_t> offsets, int64_t heads, Variable<T> distance_bias = {});
// Its middle, qkv: [N, 3D] -> [N, D], one head of one sequence at a time by plain loops that keep all
// probabilities: the reference.
template <class T>
Variable<T> attention_reference(Variable<T> qkv, Tensor<const int64_t> offsets, int64_t heads,
                                Variable<T> distance_bias = {});

// Attention of each sequence's newest row only, with the key and value projections folded away. query: [S, D], already
// projected; x: [N, D], not projected; w: [3D, D] and b: [3D], the layer's whole input projection. Result [S, D]:
//   score_j = (W_k,h^T q_h) . x_j / sqrt(d) + distance_bias[h, j]     out_h = W_v,h (sum_j p_j x_j) + b_v,h
// The key bias adds the same to all scores of a row and drops out. An empty sequence gives zeros. Without a
// distance_bias there is nothing to add; causal or not, the newest row attends to all.
template <class T>
Variable<T> newest_attention(Variable<T> query, Variable<T> x, Variable<T> w, Variable<T> b,
                             Tensor<const int64_t> offsets, int64_t heads, Variable<T> distance_bias = {});

}  // namespace tt
