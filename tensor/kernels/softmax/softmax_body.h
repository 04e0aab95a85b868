#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {
template <class T>
struct SoftmaxTable {
  T (*bias_max)(T* x, const T* bias, int64_t n);  // x += bias (or null); their maximum, -inf of none
  T (*exp_sum)(T* x, T max, int64_t n);           // x = e^(x - max); their sum
  void (*scale)(T* x, T factor, int64_t n);       // x *= factor
};
TT_KERNEL_TABLES(SoftmaxTable, softmax)
}  // namespace tt::kernels
