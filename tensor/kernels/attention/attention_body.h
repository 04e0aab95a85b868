#pragma once
// One sequence at a time. Scores are kept transposed, [keys, queries]: the queries lie in SIMD lanes, so that the
// softmax over keys runs down rows, with no sums across lanes and no masks.

#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

constexpr int64_t kAttentionLanes = 64;  // queries in one panel of scores

struct AttentionTable {
  int64_t lanes;  // of one vector
  // qkv, out, stats, dout, dqkv: the sequence's first row. Workspaces: floats(length, dim, heads) below.
  void (*forward)(const float* qkv, int64_t length, int64_t dim, int64_t heads, float* out, float* stats, float* work);
  void (*backward)(const float* qkv, const float* out, const float* stats, int64_t length, int64_t dim, int64_t heads,
                   const float* dout, float* dqkv, float* work);
  void (*last_forward)(const float* qk, const float* x, int64_t length, int64_t dim, int64_t heads, float* pooled,
                       float* work);
  void (*last_backward)(const float* qk, const float* x, int64_t length, int64_t dim, int64_t heads,
                        const float* dpooled, float* dqk, float* dx, bool accumulate_dx, float* work);
};
TT_KERNEL_TABLE(AttentionTable, attention_table, attention_body)

// Floats of workspace for sequences up to `length`: two transposed operands, two score panels, and a float a
// query.
inline int64_t attention_work(int64_t length, int64_t dim, int64_t heads) {
  return 2 * kAttentionLanes * (length + dim / heads) + length;
}
inline int64_t attention_last_work(const AttentionTable& t, int64_t length, int64_t dim, int64_t heads) {
  return 2 * ((heads + t.lanes - 1) / t.lanes * t.lanes) * (length + dim);
}

}  // namespace tt::kernels
