#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {
template <class T>
struct HuberTable {
  void (*huber)(const T* x, const T* target, T delta, int64_t n, T* loss, T* slope);
};
TT_KERNEL_TABLES(HuberTable, huber)
}  // namespace tt::kernels
