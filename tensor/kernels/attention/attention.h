#pragma once
// Fused multi-head attention, float and double, over ragged sequences: rows offsets[s] .. offsets[s+1] are sequence s
// (any length, 0 included). heads divides dim; d = dim / heads. The [L, L] probabilities never leave the cache: the
// backward pass makes them again. Same bits for any number of threads. (Vaswani et al. 2017)

#include <cstdint>

namespace tt::kernels {

// qkv: [N, 3 * dim], a row holds q | k | v; out: [N, dim].   out_h = softmax(q_h k_h^T / sqrt(d)) v_h
// stats: N * 2 * heads numbers for the backward pass (each softmax's maximum and inverse sum), or null.
template <class T>
void attention_forward(const T* qkv, const int64_t* offsets, int64_t sequences, int64_t dim, int64_t heads, T* out,
                       T* stats);

// out, stats: as the forward pass left them; dout: [N, dim] -> dqkv: [N, 3 * dim], written.
//   dp = dout v^T, ds = p * (dp - rowsum(p * dp)), dq = ds k / sqrt(d), dk = ds^T q / sqrt(d), dv = p^T dout
template <class T>
void attention_backward(const T* qkv, const T* out, const T* stats, const int64_t* offsets, int64_t sequences,
                        int64_t dim, int64_t heads, const T* dout, T* dqkv);

// One query a sequence, with the key projection folded into the query and the value projection left to the caller:
//   qk[s, h] = W_k,h^T q_h (b_k cancels in the softmax), score_j = qk[s, h] . x_j / sqrt(d),
//   pooled[s, h] = sum_j softmax(score)_j x_j; the caller's out_h = W_v,h pooled_h + b_v,h.
// qk, pooled: [sequences, heads, dim]; x: [N, dim]. An empty sequence pools to zeros.
template <class T>
void attention_last_forward(const T* qk, const T* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                            int64_t heads, T* pooled);

// dpooled: [sequences, heads, dim] -> dqk (written) and dx: [N, dim] (added to; null: not made).
template <class T>
void attention_last_backward(const T* qk, const T* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                             int64_t heads, const T* dpooled, T* dqk, T* dx);

}  // namespace tt::kernels
