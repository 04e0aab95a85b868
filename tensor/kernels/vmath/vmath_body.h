#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {
struct VmathTable {
  using Map = void (*)(const float* x, float* y, int64_t n);
  Map exp, log, tanh, sigmoid, softplus;
};
TT_KERNEL_TABLE(VmathTable, vmath_table, vmath_body)
}  // namespace tt::kernels
