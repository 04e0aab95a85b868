#include <twotower/tensor/kernels/gemm/gemm.h>

#include <limits>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

namespace {

struct Shape {
  int64_t m, n, k;
};

Floats check_gemm(const Shape& s, bool ta, bool tb, float alpha, float beta, bool bias, bool relu, int64_t pad) {
  const int64_t m = s.m, n = s.n, k = s.k;
  const int64_t lda = (ta ? m : k) + pad, ldb = (tb ? k : n) + pad, ldc = n + pad;
  const Floats a = uniform((ta ? k : m) * lda, 1), b = uniform((tb ? n : k) * ldb, 2), row = uniform(n, 3);
  const Floats before = uniform(m * ldc, 4);
  Floats c = before;
  if (beta == 0)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = std::numeric_limits<float>::quiet_NaN();
  gemm(ta, tb, m, n, k, alpha, a.data(), lda, b.data(), ldb, beta, c.data(), ldc, bias ? row.data() : nullptr, relu);
  double most = 0;
  bool padding_kept = true;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double x = 0;
      for (int64_t p = 0; p < k; ++p)
        x += static_cast<double>(ta ? a[p * lda + i] : a[i * lda + p]) *
             static_cast<double>(tb ? b[j * ldb + p] : b[p * ldb + j]);
      x *= static_cast<double>(alpha);
      if (beta != 0) x += static_cast<double>(beta) * static_cast<double>(before[i * ldc + j]);
      if (bias) x += static_cast<double>(row[j]);
      if (relu && x < 0) x = 0;
      const double e = std::abs(x - static_cast<double>(c[i * ldc + j])) / std::sqrt(static_cast<double>(k) + 1);
      if (!(e <= most)) most = std::isnan(e) ? HUGE_VAL : e;
    }
    for (int64_t j = n; j < ldc; ++j) padding_kept = padding_kept && c[i * ldc + j] == before[i * ldc + j];
  }
  CAPTURE(m);
  CAPTURE(n);
  CAPTURE(k);
  CAPTURE(ta);
  CAPTURE(tb);
  CHECK(most < 3e-6);
  CHECK(padding_kept);
  return c;
}

}  // namespace

TEST_CASE("gemm: all transposes, odd sizes, alpha, beta, bias, relu") {
  const Shape shapes[] = {{0, 3, 2},    {3, 0, 2},  {3, 2, 0},     {1, 1, 1},   {1, 70, 65},   {14, 32, 64},
                          {15, 33, 17}, {6, 16, 9}, {29, 47, 400}, {57, 8, 31}, {130, 65, 20}, {5, 300, 40}};
  int variant = 0;
  for (const Shape& s : shapes)
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        ++variant;
        on_every_isa([&] {
          check_gemm(s, ta, tb, 1, 0, false, false, 0);
          return check_gemm(s, ta, tb, variant % 2 ? 0.7f : 1.0f, static_cast<float>(variant % 3) * 0.5f,
                            variant % 5 < 2, variant % 4 == 1, variant % 3);
        });
      }
}

TEST_CASE("gemm: long k is split, wide and aliasing sizes are blocked") {
  for (const Shape& s : {Shape{20, 33, 5000}, Shape{64, 40, 2300}, Shape{130, 1100, 70}, Shape{60, 300, 256}})
    for (const bool ta : {false, true})
      on_every_isa([&] {
        check_gemm(s, ta, ta, 0.5f, 2, true, true, 3);
        return check_gemm(s, ta, !ta, 1, 1, false, false, 0);
      });
}
