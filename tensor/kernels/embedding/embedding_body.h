#pragma once
#include <twotower/tensor/kernels/dispatch.h>
#include <twotower/tensor/kernels/embedding/embedding.h>

#include <cstdint>

namespace tt::kernels {
struct EmbeddingTable {
  void (*gather)(const float* table, int64_t dim, const int64_t* ids, int64_t n, float* out, int64_t out_stride);
  // Groups lo .. hi.
  void (*sum_groups)(const RowPart* parts, int64_t num_parts, const RowGroups& groups, int64_t lo, int64_t hi,
                     int64_t dim, float* values, bool accumulate);
};
TT_KERNEL_TABLE(EmbeddingTable, embedding_table, embedding_body)
}  // namespace tt::kernels
