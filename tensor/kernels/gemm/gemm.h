#pragma once
// Float matrix product, row-major: C = alpha * op(A) * op(B) + beta * C, then optionally + bias[j], then relu.
// op(A): [m, k], op(B): [k, n], C: [m, n]; ta / tb: the matrix is stored transposed. C must not overlap A or B.

#include <cstdint>

namespace tt::kernels {

// lda, ldb, ldc: elements from one stored row to the next. beta == 0 does not read C (it may hold NaN). bias: [n] or
// null. Any size may be 0; k == 0 still scales C and runs the epilogue. Same bits for any number of threads.
void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda, const float* b,
          int64_t ldb, float beta, float* c, int64_t ldc, const float* bias = nullptr, bool relu = false);

}  // namespace tt::kernels
