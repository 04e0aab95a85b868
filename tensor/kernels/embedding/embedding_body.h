#pragma once
#include <twotower/tensor/kernels/dispatch.h>
#include <twotower/tensor/kernels/embedding/embedding.h>

#include <cstdint>

namespace tt::kernels {
template <class T>
struct EmbeddingTable {
  void (*gather)(const T* table, int64_t dim, const int64_t* ids, int64_t n, T* out, int64_t out_stride);
  // Groups lo .. hi.
  void (*sum_groups)(const RowPart<T>* parts, int64_t num_parts, const RowGroups& groups, int64_t lo, int64_t hi,
                     int64_t dim, T* values);
};
TT_KERNEL_TABLES(EmbeddingTable, embedding)
}  // namespace tt::kernels
