#pragma once
// One row of scores at a time, float and double; entries of -inf take no part.

#include <cstdint>

namespace tt::kernels {

// p = softmax(p) in place; entries of -inf become 0, and so does a whole row of them. Returns log sum_j e^p_j, -inf for
// such a row. NaN makes everything NaN.
template <class T>
T softmax(T* p, int64_t n);

// Leaves the `count` highest of a row and sets the others to -inf; ties go to the lower column.
template <class T>
void keep_highest(T* row, int64_t n, int64_t count);

}  // namespace tt::kernels
