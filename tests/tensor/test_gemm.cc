// gemm: both backends of float, and double, against a plain sum in double; who serves what; NaN.

#include <doctest/doctest.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

using namespace tt;

namespace {

std::atomic<int64_t> served[3];  // multiply-adds by backend

// Counts them while it lives, with one backend or by the rule.
class Watch {
 public:
  explicit Watch(std::optional<GemmBackend> backend) {
    force_gemm_backend(backend);
    for (auto& count : served) count = 0;
    observe_gemm([](const GemmCall& call) { served[static_cast<int>(call.backend)] += call.multiply_adds(); });
  }
  ~Watch() {
    observe_gemm(nullptr);
    force_gemm_backend(std::nullopt);
  }
  static int64_t by(GemmBackend backend) { return served[static_cast<int>(backend)]; }
};

std::vector<GemmBackend> float_backends() {
  if (*onednn_version()) return {GemmBackend::own, GemmBackend::onednn};
  return {GemmBackend::own};
}

template <class T>
std::vector<T> numbers(int64_t n, uint64_t stream) {
  std::vector<float> x(static_cast<size_t>(n));
  Philox(5, stream).fill_uniform(x.data(), n, -1.0f, 1.0f);
  return {x.begin(), x.end()};
}

struct Problem {
  bool ta, tb;
  int64_t m, n, k;
  double alpha, beta;
  bool bias, relu;
  int64_t pad;  // elements between a row's end and the next row
};

// The result; checks it, and that nothing beside it was written.
template <class T>
std::vector<T> compute(const Problem& p) {
  const int64_t lda = (p.ta ? p.m : p.k) + p.pad, ldb = (p.tb ? p.k : p.n) + p.pad, ldc = p.n + p.pad;
  const auto at = [](int64_t i) { return static_cast<size_t>(i); };
  const std::vector<T> a = numbers<T>((p.ta ? p.k : p.m) * lda, 1), b = numbers<T>((p.tb ? p.n : p.k) * ldb, 2);
  const std::vector<T> bias = numbers<T>(p.n, 3), before = numbers<T>(p.m * ldc, 4);
  std::vector<T> c = before;
  if (p.beta == 0)  // is not read
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) c[at(i * ldc + j)] = std::numeric_limits<T>::quiet_NaN();
  gemm<T>(p.ta, p.tb, p.m, p.n, p.k, static_cast<T>(p.alpha), a.data(), lda, b.data(), ldb, static_cast<T>(p.beta),
          c.data(), ldc, p.bias ? bias.data() : nullptr, p.relu);
  double worst = 0;
  bool padding_kept = true;
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double x = 0;
      for (int64_t q = 0; q < p.k; ++q)
        x += static_cast<double>(a[at(p.ta ? q * lda + i : i * lda + q)]) *
             static_cast<double>(b[at(p.tb ? j * ldb + q : q * ldb + j)]);
      x *= p.alpha;
      if (p.beta != 0) x += p.beta * static_cast<double>(before[at(i * ldc + j)]);
      if (p.bias) x += static_cast<double>(bias[at(j)]);
      if (p.relu && x < 0) x = 0;
      const double error =
          std::abs(x - static_cast<double>(c[at(i * ldc + j)])) / std::sqrt(1.0 + static_cast<double>(p.k));
      if (!(error <= worst)) worst = std::isnan(error) ? HUGE_VAL : error;
    }
    for (int64_t j = p.n; j < ldc; ++j) padding_kept = padding_kept && c[at(i * ldc + j)] == before[at(i * ldc + j)];
  }
  CAPTURE(p.m);
  CAPTURE(p.n);
  CAPTURE(p.k);
  CAPTURE(p.ta);
  CAPTURE(p.tb);
  CHECK(worst < (sizeof(T) == 4 ? 3e-6 : 1e-14));
  CHECK(padding_kept);
  return c;
}

template <class T>
void compute_all() {
  const std::array<int64_t, 3> sizes[] = {{0, 3, 2},    {3, 0, 2},     {3, 2, 0},   {1, 1, 1},      {1, 70, 65},
                                          {15, 33, 17}, {29, 47, 130}, {57, 8, 31}, {100, 100, 90}, {20, 33, 2100}};
  int variant = 0;
  for (const auto& [m, n, k] : sizes)
    for (const bool ta : {false, true})
      for (const bool tb : {false, true})
        for (const double beta : {0.0, 1.0, -0.5}) {
          ++variant;
          const Problem p{ta,         tb, m, n, k, variant % 2 ? 1 : 0.75, beta, variant % 3 == 0, variant % 4 < 2,
                          variant % 3};
          std::vector<T> one;
          {
            const ThreadScope scope(1);
            one = compute<T>(p);
          }
          const ThreadScope scope(2);
          const std::vector<T> two = compute<T>(p);
          if (Watch::by(GemmBackend::onednn) == 0)
            CHECK(std::memcmp(one.data(), two.data(), one.size() * sizeof(T)) == 0);
        }
}

}  // namespace

TEST_CASE("gemm agrees with a sum in double: all transpositions, odd sizes, alpha, beta, bias, relu, k = 0") {
  for (const GemmBackend backend : float_backends()) {
    const Watch watch(backend);
    CAPTURE(static_cast<int>(backend));
    compute_all<float>();
    CHECK(Watch::by(backend) > 0);
    CHECK(Watch::by(backend == GemmBackend::own ? GemmBackend::onednn : GemmBackend::own) == 0);
  }
  const Watch watch(std::nullopt);
  compute_all<double>();
  CHECK(Watch::by(GemmBackend::eigen) > 0);
  CHECK(Watch::by(GemmBackend::own) == 0);
}

TEST_CASE("large single products go to oneDNN, everything else to our own kernel") {
  const auto served_by = [](bool tb, int64_t m, int64_t n, int64_t k) {
    const Watch watch(std::nullopt);
    const std::vector<float> a(static_cast<size_t>(m * k)), b(static_cast<size_t>(n * k));
    std::vector<float> c(static_cast<size_t>(m * n));
    gemm<float>(false, tb, m, n, k, 1, a.data(), k, b.data(), tb ? k : n, 0, c.data(), n);
    CHECK(Watch::by(GemmBackend::own) + Watch::by(GemmBackend::onednn) == m * n * k);
    return Watch::by(GemmBackend::onednn) > 0 ? GemmBackend::onednn : GemmBackend::own;
  };
  const GemmBackend large = float_backends().back();
  CHECK(served_by(true, 256, 64, 64) == GemmBackend::own);
  CHECK(served_by(true, 1024, 1024, 255) == GemmBackend::own);
  CHECK(served_by(true, 1024, 1024, 256) == large);
  CHECK(served_by(false, 128, 128, 1 << 14) == large);
  CHECK(served_by(true, 128, 128, 1 << 14) == GemmBackend::own);  // oneDNN would use one thread
}

TEST_CASE("a backend that cannot serve float is refused") {
  const auto error = [](GemmBackend backend) -> std::string {
    try {
      force_gemm_backend(backend);
      force_gemm_backend(std::nullopt);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(error(GemmBackend::eigen) == "[gemm] Eigen serves double alone; choose own or onednn");
  CHECK(error(GemmBackend::own) == "");
  CHECK(error(GemmBackend::onednn) ==
        (*onednn_version() ? "" : "[gemm] this build has no oneDNN; configure it with -Donednn=enabled"));
}

namespace {

// Every element of a row of A that holds a NaN must come out as NaN, relu or not.
template <class T>
void check_nan(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, T beta, bool bias) {
  CAPTURE(m);
  CAPTURE(n);
  CAPTURE(k);
  CAPTURE(ta);
  CAPTURE(tb);
  const T nan = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> a(static_cast<size_t>(m * k), T(-1)), b(static_cast<size_t>(k * n), T(1)),
      c(static_cast<size_t>(m * n));
  std::vector<T> row(static_cast<size_t>(n));
  const int64_t bad = m / 2;
  a[static_cast<size_t>(ta ? bad : bad * k)] = nan;
  gemm<T>(ta, tb, m, n, k, alpha, a.data(), ta ? m : k, b.data(), tb ? k : n, beta, c.data(), n,
          bias ? row.data() : nullptr, true);
  int64_t wrong = 0;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const T y = c[static_cast<size_t>(i * n + j)];
      wrong += i == bad ? !std::isnan(y) : !(y == 0);
    }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("relu keeps NaN in every path of gemm") {
  const auto every_path = [](auto zero) {
    using T = decltype(zero);
    for (const bool ta : {false, true})
      for (const bool tb : {false, true})
        for (const bool bias : {false, true})
          for (const T beta : {T(0), T(1)})
            for (const T alpha : {T(1), T(0.5)})
              for (const int64_t n : {1, 7, 8, 16, 24, 31, 32, 40, 65}) {
                check_nan<T>(ta, tb, 3, n, 9, alpha, beta, bias);                  // B in place
                check_nan<T>(ta, tb, 60, n, 20, alpha, beta, bias);                // B packed
                if (n == 7) check_nan<T>(ta, tb, 20, n, 2100, alpha, beta, bias);  // k in pieces
              }
  };
  for (const GemmBackend backend : float_backends()) {
    const Watch watch(backend);
    every_path(0.0f);
  }
  every_path(0.0);
}

TEST_CASE("relu keeps NaN that comes from the bias or from c, with k = 0 as well") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), bias[] = {1, nan, -1};
  for (const GemmBackend backend : float_backends()) {
    const Watch watch(backend);
    for (const int64_t k : {0, 1}) {
      const float a[] = {0, 0}, b[] = {0, 0, 0};
      float c[] = {nan, 0, 2, 0, 0, 0};
      gemm<float>(false, false, 2, 3, k, 1, a, 1, b, 3, 1, c, 3, bias, true);
      CHECK(std::isnan(c[0]));
      CHECK(std::isnan(c[1]));
      CHECK(std::isnan(c[4]));
      CHECK(c[2] == 1);
      CHECK(c[3] == 1);
      CHECK(c[5] == 0);
    }
  }
}
