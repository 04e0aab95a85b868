#pragma once
// The serial heart of every matrix product here: one block, C = alpha * A B + beta * C, by register tiles.

#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

// Element (i, p) of A is a[i * row_a + p * col_a]; one of the two strides must be 1, so both orders of storage (and any
// slice of a tensor) are read in place. B comes in strips of GemmTable::nr columns: element (p, j) of strip s is
// b[s * strip_b + p * row_b + j]. A row-major matrix in place has strip_b = nr, row_b = ldb; a packed one has
// row_b = nr, strip_b = nr * k, zeros behind its last column, and `packed` set so that whole vectors may be read.
template <class T>
struct GemmBlock {
  int64_t m = 0, n = 0, k = 0;
  const T* a = nullptr;
  int64_t row_a = 0, col_a = 1;
  const T* b = nullptr;
  int64_t row_b = 0, strip_b = 0;
  bool packed = false;
  T* c = nullptr;
  int64_t ldc = 0;
  T alpha = 1, beta = 0;
  const T* bias = nullptr;  // [n]
  bool relu = false;
};

template <class T>
struct GemmTable {
  int64_t mr, nr;  // rows and columns of a register tile
  void (*block)(const GemmBlock<T>& g);
  // Strips of B^T given as rows: source [n, k] with rows ld apart -> packed strips.
  void (*pack_transposed)(const T* source, int64_t ld, int64_t n, int64_t k, T* packed);
  // Strips of a row-major [k, n].
  void (*pack)(const T* source, int64_t ld, int64_t n, int64_t k, T* packed);
};
TT_KERNEL_TABLES(GemmTable, gemm)

// Numbers in the packed form of an [k, n] matrix.
template <class T>
int64_t packed_size(const GemmTable<T>& t, int64_t n, int64_t k) {
  return (n + t.nr - 1) / t.nr * t.nr * k;
}

}  // namespace tt::kernels
