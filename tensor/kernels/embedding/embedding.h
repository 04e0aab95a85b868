#pragma once
// Embedding tables, float and double: rows out by id, and gradient rows back in, summed by owner. An id of -1 means
// "nothing there".

#include <cstddef>
#include <cstdint>

namespace tt::kernels {

// out[i, :] = table[ids[i], :], zeros for id -1. table: [rows, dim]; out rows are `out_stride` numbers apart (>= dim).
template <class T>
void gather_rows(const T* table, int64_t dim, const int64_t* ids, int64_t n, T* out, int64_t out_stride);

// One source of gradient rows: row i belongs to table row ids[i] and starts at rows + i * stride.
template <class T = float>
struct RowPart {
  const int64_t* ids = nullptr;  // [n]; -1 is skipped
  const T* rows = nullptr;
  int64_t n = 0;
  int64_t stride = 0;
};

// The positions of an id list, sorted by id and grouped: group g is table row ids[g], and its sources are
// order[starts[g]] .. order[starts[g+1]-1], ascending. Positions count through all parts, in their order.
// Arrays live in the caller's workspace.
struct RowGroups {
  int64_t groups = 0;
  const int64_t* ids = nullptr;     // [groups], ascending, unique
  const int64_t* starts = nullptr;  // [groups + 1]
  const int32_t* order = nullptr;   // [starts[groups]]
};

std::size_t row_groups_workspace(int64_t n);  // bytes for n positions in all; align the block to 8

// Stable LSD radix sort on the bits the largest id needs. Only ids and n of the parts are read; n < 2^31 in all.
template <class T>
RowGroups group_rows(const RowPart<T>* parts, int64_t num_parts, void* workspace);

// values[g, :] = sum of group g's rows, in batch order (same bits for any number of threads). values: [groups, dim].
template <class T>
void sum_row_groups(const RowPart<T>* parts, int64_t num_parts, const RowGroups& groups, int64_t dim, T* values);

}  // namespace tt::kernels
