#include <twotower/tensor/gemm.h>
#include <twotower/tensor/kernels/gemm/gemm.h>
#include <twotower/tensor/parallel.h>

#include <Eigen/Core>
#include <algorithm>

#if TWOTOWER_ONEDNN
#include <dnnl.h>
#include <twotower/tensor/error.h>
#endif

namespace tt {
namespace {

bool own_gemm = false;

// Multiply-adds that one thread does before two have met: a parallel region costs 1 to 10 us, and oneDNN opens one for
// products far smaller than this.
constexpr int64_t kSmall = 1 << 19;
#if TWOTOWER_ONEDNN
// Below this many our own product is the faster one: layers hand over blocks of rows that wait in a core's
// cache, where it runs at 94 to 98 % of the peak and oneDNN's, which copies its operands, at 64 to 101 % (where
// columns fill no vector: 70 to 83 and 48 to 80).
constexpr int64_t kBlock = 1 << 24;
#endif

template <class T>
void bias_and_relu(int64_t m, int64_t n, T* c, int64_t ldc, const T* bias, bool relu) {
  if (bias == nullptr && !relu) return;
  parallel_for(0, m, std::max<int64_t>(1, 32768 / n), [=](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const T y = c[i * ldc + j] + (bias == nullptr ? T(0) : bias[j]);
        c[i * ldc + j] = relu && y < 0 ? T(0) : y;
      }
  });
}

}  // namespace

void use_own_gemm(bool own) { own_gemm = own; }

template <>
void gemm<float>(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
                 const float* b, int64_t ldb, float beta, float* c, int64_t ldc, const float* bias, bool relu) {
  if (m == 0 || n == 0) return;
  if (m * n * k < kSmall) {
    const SerialScope serial;
    kernels::gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, bias, relu);
    return;
  }
#if TWOTOWER_ONEDNN
  if (!own_gemm && m * n * k >= kBlock) {
    const auto status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    check(status == dnnl_success, "gemm", "oneDNN refused [", m, ", ", k, "] x [", k, ", ", n, "]: status ", status);
    return bias_and_relu(m, n, c, ldc, bias, relu);
  }
#endif
  kernels::gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, bias, relu);
}

template <>
void gemm<double>(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const double* a, int64_t lda,
                  const double* b, int64_t ldb, double beta, double* c, int64_t ldc, const double* bias, bool relu) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using View = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;
  Eigen::Map<Matrix, 0, Eigen::OuterStride<>> out(c, m, n, Eigen::OuterStride<>(ldc));
  if (beta == 0)
    out.setZero();
  else if (beta != 1)
    out *= beta;
  if (m == 0 || n == 0) return;
  if (k == 0) return bias_and_relu(m, n, c, ldc, bias, relu);
  const View av(a, ta ? k : m, ta ? m : k, Eigen::OuterStride<>(lda));
  const View bv(b, tb ? n : k, tb ? k : n, Eigen::OuterStride<>(ldb));
  if (ta && tb)
    out.noalias() += alpha * av.transpose() * bv.transpose();
  else if (ta)
    out.noalias() += alpha * av.transpose() * bv;
  else if (tb)
    out.noalias() += alpha * av * bv.transpose();
  else
    out.noalias() += alpha * av * bv;
  bias_and_relu(m, n, c, ldc, bias, relu);
}

const char* gemm_backend() {
#if TWOTOWER_ONEDNN
  static char name[32];
  if (!own_gemm) {
    const dnnl_version_t* v = dnnl_version();
    std::snprintf(name, sizeof name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return name;
  }
#endif
  return "twotower";
}

}  // namespace tt
