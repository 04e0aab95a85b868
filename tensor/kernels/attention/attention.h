#pragma once
// Fused multi-head attention, float and double, over ragged sequences: rows offsets[s] .. offsets[s+1] are sequence s
// (any length, 0 included). heads divides dim; d = dim / heads. The [L, L] probabilities never leave the cache: the
// backward pass makes them again. Same bits for any number of threads. (Vaswani et al. 2017)

#include <cstdint>

namespace tt::kernels {

// Causal attention: a row attends to itself and to what is older than it, the rows from it on in its sequence, which
// begins with the newest; bias_h[j] is added to its score of the row that is j older (T5's relative bias, Raffel et al.
// 2020, by distance alone). The tables hold the bias as the kernels read it: made once for a batch.
template <class T>
struct CausalBias {
  const T* tables = nullptr;  // null: every row attends to the whole of its sequence, and no bias is added
  int64_t distances = 0;      // no sequence is longer
  static int64_t numbers(int64_t heads, int64_t distances) { return 2 * heads * (distances + 128); }
};
// bias: [heads, distances] -> tables: CausalBias<T>::numbers(heads, distances).
template <class T>
void make_causal_tables(const T* bias, int64_t heads, int64_t distances, T* tables);

// qkv: [N, 3 * dim], a row holds q | k | v; out: [N, dim].   out_h = softmax(q_h k_h^T / sqrt(d) + bias_h) v_h
// stats: N * 2 * heads numbers for the backward pass (each softmax's maximum and inverse sum), or null.
template <class T>
void attention_forward(const T* qkv, const int64_t* offsets, int64_t sequences, int64_t dim, int64_t heads, T* out,
                       T* stats, const CausalBias<T>& causal = {});

// out, stats: as the forward pass left them; dout: [N, dim] -> dqkv: [N, 3 * dim], written.
//   dp = dout v^T, ds = p * (dp - rowsum(p * dp)), dq = ds k / sqrt(d), dk = ds^T q / sqrt(d), dv = p^T dout
// A causal bias gets the sum of ds over the pairs of each distance: dbias [heads, distances], added to by sequence, so
// that calls at the same time need one each; null: not made.
template <class T>
void attention_backward(const T* qkv, const T* out, const T* stats, const int64_t* offsets, int64_t sequences,
                        int64_t dim, int64_t heads, const T* dout, T* dqkv, const CausalBias<T>& causal = {},
                        T* dbias = nullptr);

// One query a sequence, with the key projection folded into the query and the value projection left to the caller:
//   qk[s, h] = W_k,h^T q_h (b_k cancels in the softmax), score_j = qk[s, h] . x_j / sqrt(d) + bias_h[j],
//   pooled[s, h] = sum_j softmax(score)_j x_j; the caller's out_h = W_v,h pooled_h + b_v,h.
// qk, pooled: [sequences, heads, dim]; x: [N, dim]; bias: [heads, distances], the newest row's own in front, or null.
// An empty sequence pools to zeros.
template <class T>
void attention_last_forward(const T* qk, const T* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                            int64_t heads, T* pooled, const T* bias = nullptr, int64_t distances = 0);

// dpooled: [sequences, heads, dim] -> dqk (written), dx: [N, dim] (added to; null: not made) and the gradient of each
// score before its division by sqrt(d), dscores: [N, heads] (written; null: not made).
template <class T>
void attention_last_backward(const T* qk, const T* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                             int64_t heads, const T* dpooled, T* dqk, T* dx, const T* bias = nullptr,
                             int64_t distances = 0, T* dscores = nullptr);

}  // namespace tt::kernels
