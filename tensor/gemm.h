#pragma once
// Matrix products. float: our own kernel, and for large single products oneDNN, where the build has it; double
// (gradient checks): Eigen, on the calling thread. Our own kernel and Eigen give the same bits on any number of
// threads; oneDNN does not promise it.

#include <cstdint>
#include <optional>

namespace tt {

// c[m, n] = alpha * op(a) * op(b) + beta * c, row-major; op transposes where the flag is set, so that a is
// stored [m, k] or, transposed, [k, m]. lda, ldb, ldc: elements from one stored row to the next. beta == 0
// never reads c. Then, if given, + bias[j], and relu. Any size may be 0; k == 0 still scales c, adds the bias and
// takes relu. NaN stays NaN.
template <class T>
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
          const T* b, int64_t ldb, T beta, T* c, int64_t ldc, const T* bias = nullptr, bool relu = false);

enum class GemmBackend { own, onednn, eigen };

// oneDNN serves float products of so many multiply-adds and more, but not op(b) = b^T with a k above m and n, which it
// runs on one thread. All that a layer asks for is smaller, since rows go through it in blocks: there our own kernel is
// about as fast, allocates nothing and gives the same bits whoever calls. docs/kernels.md has the measurements.
inline constexpr int64_t kOneDnnWork = int64_t{1} << 28;

const char* onednn_version();  // "2.6.3", or "" in a build without oneDNN

// For tests and benches: who serves float from now on, in the whole process; nullopt: the rule above. Throws Error if
// the build does not have it.
void force_gemm_backend(std::optional<GemmBackend> backend);

// For tests and benches: `observer` is told of every product of the process before it is computed, on the thread that
// asked for it, perhaps on several at once; nullptr: nobody is.
struct GemmCall {
  GemmBackend backend;
  bool transpose_a, transpose_b;
  int64_t m, n, k, lda, ldb, ldc;
  bool adds, bias, relu;  // adds: beta != 0
  int64_t multiply_adds() const { return m * n * k; }
};
using GemmObserver = void (*)(const GemmCall& call);
void observe_gemm(GemmObserver observer);

}  // namespace tt
