#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

// What passed a threshold: `at` is row * strip width + query within its strip.
struct Hit {
  float score;
  int32_t at;
};

struct TopkTable {
  int64_t strip;  // queries in a strip of scan(): the columns of gemm's packed strips
  // out[i] = items[i, :] . query
  void (*dots)(const float* items, int64_t n, int64_t d, const float* query, float* out);
  // Indices i with x[i] >= threshold, ascending; returns how many. NaN never passes.
  int64_t (*filter)(const float* x, int64_t n, float threshold, int32_t* hits);
  // Products of items [n, d] with `queries` <= strip queries, packed by gemm's pack_transposed; those that reach
  // thresholds[query] (a strip of them; NaN lets nothing pass), rows ascending for each query. Returns how many.
  // While it computes, `fetch` (bytes, [n, d]; may be null) comes into the cache.
  int64_t (*scan)(const float* items, int64_t n, int64_t d, const float* packed, int64_t queries,
                  const float* thresholds, Hit* hits, const float* fetch);
};
TT_KERNEL_TABLE(TopkTable, topk_table, topk_body)
}  // namespace tt::kernels
