#include <twotower/tensor/error.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/kernels/gemm/gemm.h>
#include <twotower/tensor/threads/parallel.h>

#define EIGEN_DONT_PARALLELIZE  // it would take as many threads as the host's OpenMP says, even after a fork
#include <Eigen/Core>
#include <algorithm>
#include <atomic>
#include <cstdio>

#if TWOTOWER_ONEDNN
#include <dnnl.h>
#endif

namespace tt {
namespace {

std::atomic<GemmObserver> observer{nullptr};
std::atomic<int> forced{-1};  // a GemmBackend, or -1: the rule

// Multiply-adds that one thread does before two have met: a parallel region costs 1 to 10 us.
constexpr int64_t kSmall = 1 << 19;

GemmBackend float_backend([[maybe_unused]] bool tb, [[maybe_unused]] int64_t m, [[maybe_unused]] int64_t n,
                          [[maybe_unused]] int64_t k) {
#if TWOTOWER_ONEDNN
  const int choice = forced.load(std::memory_order_relaxed);
  const bool large = m * n * k >= kOneDnnWork && !(tb && k > std::max(m, n));
  if (k > 0 && (choice < 0 ? large : choice == static_cast<int>(GemmBackend::onednn))) return GemmBackend::onednn;
#endif
  return GemmBackend::own;
}

void announce(const GemmCall& call) {
  if (const GemmObserver see = observer.load(std::memory_order_relaxed)) see(call);
}

template <class T>
void bias_and_relu(int64_t m, int64_t n, T* c, int64_t ldc, const T* bias, bool relu) {
  if (bias == nullptr && !relu) return;
  parallel_for(0, m, std::max<int64_t>(1, 32768 / std::max<int64_t>(n, 1)), [=](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const T y = c[i * ldc + j] + (bias == nullptr ? T(0) : bias[j]);
        c[i * ldc + j] = relu && y < 0 ? T(0) : y;
      }
  });
}

}  // namespace

void observe_gemm(GemmObserver see) { observer.store(see, std::memory_order_relaxed); }

void force_gemm_backend(std::optional<GemmBackend> backend) {
  check(backend != GemmBackend::eigen, "gemm", "Eigen serves double alone; choose own or onednn");
  check(backend != GemmBackend::onednn || TWOTOWER_ONEDNN, "gemm",
        "this build has no oneDNN; configure it with -Donednn=enabled");
  forced.store(backend ? static_cast<int>(*backend) : -1, std::memory_order_relaxed);
}

template <>
void gemm<float>(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
                 const float* b, int64_t ldb, float beta, float* c, int64_t ldc, const float* bias, bool relu) {
  if (m == 0 || n == 0) return;
  const GemmBackend backend = float_backend(tb, m, n, k);
  announce({backend, ta, tb, m, n, k, lda, ldb, ldc, beta != 0, bias != nullptr, relu});
#if TWOTOWER_ONEDNN
  if (backend == GemmBackend::onednn) {
    const OpenMpThreads threads;
    const auto status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    check(status == dnnl_success, "gemm", "oneDNN refused [", m, ", ", k, "] x [", k, ", ", n, "]: status ", status);
    return bias_and_relu(m, n, c, ldc, bias, relu);
  }
#endif
  const ThreadScope threads(m * n * k < kSmall ? 1 : num_threads());
  kernels::gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, bias, relu);
}

template <>
void gemm<double>(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const double* a, int64_t lda,
                  const double* b, int64_t ldb, double beta, double* c, int64_t ldc, const double* bias, bool relu) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using View = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;
  if (m == 0 || n == 0) return;
  announce({GemmBackend::eigen, ta, tb, m, n, k, lda, ldb, ldc, beta != 0, bias != nullptr, relu});
  Eigen::Map<Matrix, 0, Eigen::OuterStride<>> out(c, m, n, Eigen::OuterStride<>(ldc));
  if (beta == 0)
    out.setZero();
  else if (beta != 1)
    out *= beta;
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

const char* onednn_version() {
#if TWOTOWER_ONEDNN
  static char text[32];
  static const int length = [] {
    const dnnl_version_t* v = dnnl_version();
    return std::snprintf(text, sizeof text, "%d.%d.%d", v->major, v->minor, v->patch);
  }();
  return length > 0 ? text : "";
#else
  return "";
#endif
}

}  // namespace tt
