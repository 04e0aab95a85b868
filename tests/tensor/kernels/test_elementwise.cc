#include <twotower/tensor/kernels/elementwise/elementwise.h>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

TEST_CASE("elementwise: every map at odd lengths") {
  for (const int64_t n : {0, 1, 7, 33, 1000, 100003})
    on_every_isa([&] {
      const Floats a = uniform(n, 1), b = uniform(n, 2);
      Floats y(n);
      std::vector<double> want(static_cast<std::size_t>(n));
      const auto expect = [&](auto f) {
        for (int64_t i = 0; i < n; ++i)
          want[static_cast<std::size_t>(i)] = f(static_cast<double>(a[i]), static_cast<double>(b[i]));
        CHECK(worst(y, want, n) < 1e-6);
      };
      add(a.data(), b.data(), y.data(), n), expect([](double p, double q) { return p + q; });
      add_to(y.data(), a.data(), n), expect([](double p, double q) { return 2 * p + q; });
      mul(a.data(), b.data(), y.data(), n), expect([](double p, double q) { return p * q; });
      mul_add_to(y.data(), a.data(), b.data(), n), expect([](double p, double q) { return 2 * p * q; });
      axpy(y.data(), 0.5f, a.data(), n), expect([](double p, double q) { return 2 * p * q + p / 2; });
      scale_to(y.data(), -3, b.data(), n), expect([](double, double q) { return -3 * q; });
      relu(a.data(), y.data(), n), expect([](double p, double) { return p > 0 ? p : 0; });
      relu_backward(y.data(), b.data(), a.data(), n), expect([](double p, double q) { return p > 0 ? q : 0; });
      relu_backward_to(y.data(), b.data(), a.data(), n), expect([](double p, double q) { return p > 0 ? 2 * q : 0; });
      double sums = 0, dots = 0;
      for (int64_t i = 0; i < n; ++i)
        sums += static_cast<double>(a[i]), dots += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      CHECK(sum(a.data(), n) == doctest::Approx(sums).epsilon(1e-4));
      CHECK(dot(a.data(), b.data(), n) == doctest::Approx(dots).epsilon(1e-4));
      return y;
    });
}

TEST_CASE("elementwise: relu keeps NaN") {
  on_every_isa([&] {
    Floats x(3, std::nanf("")), y(3);
    relu(x.data(), y.data(), 3);
    CHECK(std::isnan(y[2]));
    return Floats(0);
  });
}

TEST_CASE("elementwise: bias rows and column sums") {
  for (const int64_t rows : {0, 1, 77, 5000})
    for (const int64_t cols : {1, 19, 64, 130})
      on_every_isa([&] {
        Floats y = uniform(rows * cols, 3), db = uniform(cols, 4);
        const Floats bias = uniform(cols, 5), y0 = y, db0 = db;
        add_bias_rows(y.data(), bias.data(), rows, cols);
        column_sums_to(db.data(), y.data(), rows, cols);
        for (int64_t j = 0; j < cols; ++j) {
          double want = static_cast<double>(db0[j]);
          for (int64_t i = 0; i < rows; ++i) {
            CHECK(y[i * cols + j] == y0[i * cols + j] + bias[j]);
            want += static_cast<double>(y[i * cols + j]);
          }
          CHECK(std::abs(static_cast<double>(db[j]) - want) < 1e-6 * static_cast<double>(rows + 10));
        }
        return db;
      });
}
