#pragma once
// Huber's loss over arrays and its slope (Huber 1964): with e = x - target,
//   slope = max(-delta, min(e, delta))
//   loss  = slope (e - slope / 2), which is e^2 / 2 near the target and delta (|e| - delta / 2) far from it

#include <cstdint>

namespace tt::kernels {

// All arrays: [n]; loss and slope may be x or target. delta > 0. NaN stays NaN.
template <class T>
void huber(const T* x, const T* target, T delta, int64_t n, T* loss, T* slope);

}  // namespace tt::kernels
