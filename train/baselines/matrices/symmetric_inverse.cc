#include <twotower/tensor/error.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/baselines/matrices/symmetric_inverse.h>

#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Cholesky>
#include <algorithm>
#include <vector>

namespace tt {
namespace {

constexpr int64_t kPivot = 128;  // rows and columns swept at a time
// A tile of the update: with kPivot fewer multiply-adds than our own product, the same on any number of threads,
// serves.
constexpr int64_t kRows = 256, kColumns = 2048;
static_assert(kRows * kColumns * kPivot < kOneDnnWork);

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// p: [b, b], the inverse of the diagonal block at a.
void invert_block(const float* a, int64_t n, int64_t b, std::vector<float>& p) {
  Matrix block(b, b);
  for (int64_t i = 0; i < b; ++i)
    for (int64_t j = 0; j <= i; ++j) block(i, j) = static_cast<double>(a[i * n + j]);
  const Eigen::LLT<Matrix, Eigen::Lower> factor(block);
  check(factor.info() == Eigen::Success, "symmetric_inverse",
        "the matrix is not positive definite in floats; raise ease.l2");
  const Matrix inverse = factor.solve(Matrix::Identity(b, b));
  p.resize(static_cast<size_t>(b * b));
  for (int64_t i = 0; i < b; ++i)  // symmetric to the last bit
    for (int64_t j = 0; j < b; ++j)
      p[static_cast<size_t>(i * b + j)] = static_cast<float>(inverse(std::max(i, j), std::min(i, j)));
}

}  // namespace

// The sweep operator (Goodnight 1979, "A tutorial on the SWEEP operator") by blocks. With P the inverse of the diagonal
// block at k:   a_ij -= a_ik P a_kj,   a_ik = a_ik P,   a_kk = -P;   after every k, a is minus its inverse.
void invert_symmetric(float* a, int64_t n) {
  std::vector<float> p, column(static_cast<size_t>(n * kPivot)), times_p(column.size());  // [n, b]: a_ik, a_ik P
  for (int64_t k = 0; k < n; k += kPivot) {
    const int64_t b = std::min(kPivot, n - k);
    invert_block(a + k * n + k, n, b, p);
    parallel_for(0, n, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t j = 0; j < b; ++j)
          column[static_cast<size_t>(i * b + j)] = i < k ? a[(k + j) * n + i] : a[i * n + k + j];
      gemm(false, false, end - begin, b, b, 1.0f, column.data() + begin * b, b, p.data(), b, 0.0f,
           times_p.data() + begin * b, b);
    });
    parallel_for(0, n, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t first = 0; first < end; first += kColumns)
        gemm(false, true, end - begin, std::min(kColumns, end - first), b, -1.0f, times_p.data() + begin * b, b,
             column.data() + first * b, b, 1.0f, a + begin * n + first, n);
    });
    // The block's own rows and columns, which the tiles went over.
    parallel_for(0, n, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t j = 0; j < b; ++j) {
          const float value = times_p[static_cast<size_t>(i * b + j)];
          if (i < k)
            a[(k + j) * n + i] = value;
          else
            a[i * n + k + j] = i < k + b ? -p[static_cast<size_t>((i - k) * b + j)] : value;
        }
    });
  }
  parallel_for(0, n, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j <= i; ++j) a[i * n + j] = -a[i * n + j];
  });
  parallel_for(0, n, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = i + 1; j < n; ++j) a[i * n + j] = a[j * n + i];
  });
}

}  // namespace tt
