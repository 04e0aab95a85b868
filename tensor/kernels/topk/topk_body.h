#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {
struct TopkTable {
  // out[i] = items[i, :] . query
  void (*dots)(const float* items, int64_t n, int64_t d, const float* query, float* out);
  // Indices i with x[i] >= threshold, ascending; returns how many. NaN never passes.
  int64_t (*filter)(const float* x, int64_t n, float threshold, int32_t* hits);
  // The same for a tile [rows, width], each column with its own threshold: hits are row * width + column.
  // width is a multiple of every set's lanes (16).
  int64_t (*filter_tile)(const float* tile, int64_t rows, int64_t width, const float* thresholds, int32_t* hits);
};
TT_KERNEL_TABLE(TopkTable, topk_table, topk_body)
}  // namespace tt::kernels
