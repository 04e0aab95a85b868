#pragma once
// The two loops of every product by hand: in the precision of their rows, and in order.

#include <cstdint>

namespace tt {

template <class T>
T dot(const T* a, const T* b, int64_t n) {
  T s = 0;
  for (int64_t i = 0; i < n; ++i) s += a[i] * b[i];
  return s;
}

// to += factor * from
template <class T>
void add_times(T* to, const T* from, T factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
}

}  // namespace tt
