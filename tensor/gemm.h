#pragma once
// Matrix products. float: oneDNN where the build has it, else our own kernel; double (gradient checks): Eigen.

#include <cstdint>

namespace tt {

// c[m, n] = alpha * op(a) * op(b) + beta * c, row-major; op transposes where the flag is set, so that a is
// stored [m, k] or, transposed, [k, m]. lda, ldb, ldc: elements from one stored row to the next. beta == 0
// never reads c. Then, if given, + bias[j], and relu.
template <class T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
          const T* b, int64_t ldb, T beta, T* c, int64_t ldc, const T* bias = nullptr, bool relu = false);

// The backend that serves float: "oneDNN 2.6.3" or "twotower".
const char* gemm_backend();

// For tests and benches: let our own kernel serve float even where oneDNN is built in.
void use_own_gemm(bool own);

}  // namespace tt
