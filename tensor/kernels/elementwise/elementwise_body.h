#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {
struct ElementwiseTable {
  using Binary = void (*)(const float* a, const float* b, float* y, int64_t n);
  using Scaled = void (*)(float* y, float alpha, const float* x, int64_t n);
  Binary add, mul, mul_add;
  void (*relu)(const float* x, float* y, int64_t n);
  Binary relu_backward, relu_backward_add;  // a = dy, b = y, into dx
  Scaled axpy, scale;
  double (*dot)(const float* a, const float* b, int64_t n);
  double (*sum)(const float* x, int64_t n);
  void (*add_bias)(float* y, const float* bias, int64_t rows, int64_t cols);
  void (*column_sums)(float* out, const float* x, int64_t stride, int64_t rows, int64_t cols, bool accumulate);
};
TT_KERNEL_TABLE(ElementwiseTable, elementwise_table, elementwise_body)
}  // namespace tt::kernels
