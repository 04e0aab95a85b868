#pragma once
// One sequence at a time. Scores are kept transposed, [keys, queries]: the queries lie in SIMD lanes, so that the
// softmax over keys runs down rows, with no sums across lanes and no masks.

#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

constexpr int64_t kAttentionLanes = 64;  // queries in one panel of scores

// Causal tables (attention.h): for each head the bias, in units of log 2, by how much older a key is than its query,
// once going up and once going down, so that either may lie in SIMD lanes. What is newer than its query gets so low a
// score that its weight is 0. Both have room for the lanes of a last vector.
constexpr double kLog2e = 1.4426950408889634, kNewer = -1e30;
constexpr int64_t causal_stride(int64_t distances) { return distances + 2 * kAttentionLanes; }

template <class T>
struct AttentionTable {
  int64_t lanes;  // of one vector
  // qkv, out, stats, dout, dqkv: the sequence's first row. Workspaces: numbers(length, dim, heads) below.
  // causal: null, or the tables of so many distances.
  void (*forward)(const T* qkv, int64_t length, int64_t dim, int64_t heads, const T* causal, int64_t distances, T* out,
                  T* stats, T* work);
  void (*backward)(const T* qkv, const T* out, const T* stats, int64_t length, int64_t dim, int64_t heads,
                   const T* causal, int64_t distances, const T* dout, T* dqkv, T* dbias, T* work);
  void (*last_forward)(const T* qk, const T* x, int64_t length, int64_t dim, int64_t heads, const T* bias,
                       int64_t distances, T* pooled, T* work);
  void (*last_backward)(const T* qk, const T* x, int64_t length, int64_t dim, int64_t heads, const T* bias,
                        int64_t distances, const T* dpooled, T* dqk, T* dx, T* dscores, T* work);
};
TT_KERNEL_TABLES(AttentionTable, attention)

// Numbers of workspace for sequences up to `length`: two transposed operands, two score panels, one a query, and one a
// distance.
inline int64_t attention_work(int64_t length, int64_t dim, int64_t heads) {
  return 2 * kAttentionLanes * (length + dim / heads) + length + causal_stride(length);
}
template <class T>
int64_t attention_last_work(const AttentionTable<T>& t, int64_t length, int64_t dim, int64_t heads) {
  return 2 * ((heads + t.lanes - 1) / t.lanes * t.lanes) * (length + dim);
}

}  // namespace tt::kernels
