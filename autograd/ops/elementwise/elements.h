#pragma once
// How backward functions of element-wise ops walk a gradient: in parallel, adding one number an element.

#include <twotower/autograd/tape.h>
#include <twotower/tensor/threads/parallel.h>

namespace tt {

inline constexpr int64_t kElementGrain = 32768;  // elements; less is not worth a second thread

// Rows of this width that make a chunk.
inline int64_t row_grain(int64_t cols) { return kElementGrain / (cols > 0 ? cols : 1) + 1; }

// dx[i] += share(i) for every element i of dx.
template <class T, class Share>
void add_elements(Accumulator<T> dx, Share share) {
  if (!dx) return;
  const int64_t rows = dx.rows(), cols = dx.cols();
  if (rows == 1) {
    T* to = dx.all();
    parallel_for(0, cols, kElementGrain, [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) to[i] += share(i);
    });
    return;
  }
  parallel_for(0, rows, row_grain(cols), [&](int64_t lo, int64_t hi) {
    T* to = dx.rows(lo, hi);
    for (int64_t i = lo * cols; i < hi * cols; ++i) *to++ += share(i);
  });
}

}  // namespace tt
