#pragma once
// One sequence at a time. Scores are kept transposed, [keys, queries]: the queries lie in SIMD lanes, so that the
// softmax over keys runs down rows, with no sums across lanes and no masks.

#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

constexpr int64_t kAttentionLanes = 64;  // queries in one panel of scores

template <class T>
struct AttentionTable {
  int64_t lanes;  // of one vector
  // qkv, out, stats, dout, dqkv: the sequence's first row. Workspaces: numbers(length, dim, heads) below.
  void (*forward)(const T* qkv, int64_t length, int64_t dim, int64_t heads, T* out, T* stats, T* work);
  void (*backward)(const T* qkv, const T* out, const T* stats, int64_t length, int64_t dim, int64_t heads,
                   const T* dout, T* dqkv, T* work);
  void (*last_forward)(const T* qk, const T* x, int64_t length, int64_t dim, int64_t heads, T* pooled, T* work);
  void (*last_backward)(const T* qk, const T* x, int64_t length, int64_t dim, int64_t heads, const T* dpooled, T* dqk,
                        T* dx, T* work);
};
TT_KERNEL_TABLES(AttentionTable, attention)

// Numbers of workspace for sequences up to `length`: two transposed operands, two score panels, and one a query.
inline int64_t attention_work(int64_t length, int64_t dim, int64_t heads) {
  return 2 * kAttentionLanes * (length + dim / heads) + length;
}
template <class T>
int64_t attention_last_work(const AttentionTable<T>& t, int64_t length, int64_t dim, int64_t heads) {
  return 2 * ((heads + t.lanes - 1) / t.lanes * t.lanes) * (length + dim);
}

}  // namespace tt::kernels
