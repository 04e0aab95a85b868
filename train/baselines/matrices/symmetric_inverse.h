#pragma once

#include <cstdint>

namespace tt {

// a: [n, n], row-major, symmetric and positive definite, of which the lower triangle is read; becomes its inverse, both
// triangles. In place but for a panel of n x 128, in n^3 multiply-adds and additions together, as many as a Cholesky
// factor and the inverse from it take. Throws Error where the matrix is not positive definite in floats. The same bits
// on any number of threads.
void invert_symmetric(float* a, int64_t n);

}  // namespace tt
