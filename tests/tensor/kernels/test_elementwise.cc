#include <twotower/tensor/kernels/elementwise/elementwise.h>

#include <algorithm>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

TEST_CASE("elementwise: sums and relu's gradient at odd lengths") {
  for (const int64_t n : {0, 1, 7, 33, 1000, 100003})
    on_every_body([&](auto zero) {
      using T = decltype(zero);
      const auto a = uniform<T>(n, 1), b = uniform<T>(n, 2);
      Numbers<T> y = a, dx(n);
      add_to(y.data(), b.data(), n);
      relu_backward(dx.data(), b.data(), a.data(), n);
      bool right = true;
      for (int64_t i = 0; i < n; ++i) right = right && y[i] == a[i] + b[i] && dx[i] == (a[i] > 0 ? b[i] : 0);
      CHECK(right);
      return y;
    });
}

TEST_CASE("elementwise: bias rows and column sums") {
  for (const int64_t rows : {0, 1, 77, 5000})
    for (const int64_t cols : {1, 19, 64, 130})
      on_every_body([&](auto zero) {
        using T = decltype(zero);
        Numbers<T> y = uniform<T>(rows * cols, 3), db = uniform<T>(cols, 4);
        const auto bias = uniform<T>(cols, 5), y0 = y, db0 = db;
        add_bias_rows(y.data(), bias.data(), rows, cols);
        column_sums_to(db.data(), y.data(), rows, cols);
        bool right = true;
        double most = 0;
        for (int64_t j = 0; j < cols; ++j) {
          double want = static_cast<double>(db0[j]);
          for (int64_t i = 0; i < rows; ++i) {
            right = right && y[i * cols + j] == y0[i * cols + j] + bias[j];
            want += static_cast<double>(y[i * cols + j]);
          }
          most = std::max(most, std::abs(static_cast<double>(db[j]) - want));
        }
        CHECK(right);
        CHECK(most < within<T>(1e-6) * static_cast<double>(rows + 10));
        return db;
      });
}
