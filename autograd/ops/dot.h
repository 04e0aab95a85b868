#pragma once
// The inner product of two rows, in their own precision and in order.

#include <cstdint>

namespace tt {

template <class T>
T dot(const T* a, const T* b, int64_t n) {
  T s = 0;
  for (int64_t i = 0; i < n; ++i) s += a[i] * b[i];
  return s;
}

}  // namespace tt
