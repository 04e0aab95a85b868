#include <twotower/tensor/kernels/softmax/softmax.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

TEST_CASE("softmax: a row, with entries of -inf, and the log of its sum") {
  for (const int64_t n : {1, 2, 7, 33, 5000})
    on_every_body([&](auto zero) {
      using T = decltype(zero);
      Numbers<T> p = uniform<T>(n, 1, -30, 30);
      for (int64_t j = 1; j < n; j += 5) p[j] = -std::numeric_limits<T>::infinity();
      std::vector<double> want(static_cast<std::size_t>(n));
      double total = 0;
      for (int64_t j = 0; j < n; ++j) total += want[static_cast<std::size_t>(j)] = std::exp(static_cast<double>(p[j]));
      for (double& x : want) x /= total;
      const T log_sum = softmax(p.data(), n);
      CHECK(static_cast<double>(log_sum) == doctest::Approx(std::log(total)).epsilon(within<T>(1e-6)));
      CHECK(worst(p, want, n) < within<T>(1e-6));
      for (int64_t j = 1; j < n; j += 5) CHECK(p[j] == 0);
      return p;
    });
}

TEST_CASE("softmax: large scores do not overflow, rows of -inf become 0, NaN shows") {
  on_every_body([&](auto zero) {
    using T = decltype(zero);
    constexpr T inf = std::numeric_limits<T>::infinity();
    T large[] = {1000, 999, -1000};
    CHECK(static_cast<double>(softmax(large, 3)) == doctest::Approx(1000.3132617).epsilon(1e-6));
    CHECK(large[2] == 0);
    T nothing[] = {-inf, -inf, -inf, -inf, -inf};
    CHECK(softmax(nothing, 5) == -inf);
    for (const T x : nothing) CHECK(x == 0);
    for (const T other : {T(1), -inf}) {
      T bad[] = {other, std::numeric_limits<T>::quiet_NaN(), other};
      CHECK(std::isnan(softmax(bad, 3)));
      CHECK(std::isnan(bad[0]));
    }
    T* empty = nullptr;
    CHECK(softmax(empty, 0) == -inf);
    return Numbers<T>(0);
  });
}

TEST_CASE("softmax: the highest of a row stay, ties by lower column, NaN breaks nothing") {
  for (const int64_t n : {1, 5, 100, 3001})
    for (const int64_t count : {0, 1, 3, 99, 5000})
      on_every_body([&](auto zero) {
        using T = decltype(zero);
        Numbers<T> row = uniform<T>(n, 1);
        for (int64_t j = 0; j < n; ++j) row[j] = std::round(row[j] * 20);  // many ties
        const Numbers<T> before = row;
        keep_highest(row.data(), n, count);
        std::vector<int64_t> order(static_cast<std::size_t>(n));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return before[a] > before[b]; });
        bool right = true;
        for (int64_t r = 0; r < n; ++r) {
          const int64_t j = order[static_cast<std::size_t>(r)];
          right = right && row[j] == (r < count ? before[j] : -std::numeric_limits<T>::infinity());
        }
        CHECK(right);
        Numbers<T> bad(5, std::numeric_limits<T>::quiet_NaN());
        keep_highest(bad.data(), 5, 2);
        return row;
      });
}
