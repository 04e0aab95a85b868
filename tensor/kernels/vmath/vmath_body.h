#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {
template <class T>
struct VmathTable {
  using Map = void (*)(const T* x, T* y, int64_t n);
  Map exp, log, tanh, sigmoid, softplus, gelu, gelu_slope;
};
TT_KERNEL_TABLES(VmathTable, vmath)
}  // namespace tt::kernels
