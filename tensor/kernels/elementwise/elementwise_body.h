#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {
template <class T>
struct ElementwiseTable {
  void (*add_to)(T* y, const T* x, int64_t n);
  void (*relu_backward)(T* dx, const T* dy, const T* y, int64_t n);
  void (*add_bias)(T* y, const T* bias, int64_t rows, int64_t cols);
  void (*column_sums)(T* out, const T* x, int64_t stride, int64_t rows, int64_t cols, bool accumulate);
};
TT_KERNEL_TABLES(ElementwiseTable, elementwise)
}  // namespace tt::kernels
