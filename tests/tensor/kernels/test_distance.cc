#include <twotower/tensor/kernels/distance/distance.h>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

TEST_CASE("distance: products of rows that lie anywhere, the same bits whatever else is asked") {
  for (const int64_t d : {1, 3, 16, 17, 64, 100})
    on_every_isa([&] {
      constexpr int64_t kItems = 50;
      const Floats items = uniform(kItems * d, 1), query = uniform(d, 2);
      std::vector<int32_t> rows;
      for (int32_t i = 0; i < 23; ++i) rows.push_back(i * 37 % kItems);
      Floats out(23), reference(23), alone(1);
      dots_at(items.data(), d, rows.data(), 23, query.data(), out.data());
      for (int64_t i = 0; i < 23; ++i) {
        const int32_t* row = rows.data() + i;
        double sum = 0;
        for (int64_t j = 0; j < d; ++j) sum += static_cast<double>(items[*row * d + j]) * static_cast<double>(query[j]);
        reference[i] = static_cast<float>(sum);
        dots_at(items.data(), d, row, 1, query.data(), alone.data());
        CHECK(alone[0] == out[i]);
      }
      CHECK(worst(out, reference, 23) < 1e-5);
      return out;
    });
}

TEST_CASE("distance: squared distance") {
  for (const int64_t d : {1, 7, 32, 65, 80})
    on_every_isa([&] {
      const Floats a = uniform(d, 3), b = uniform(d, 4);
      double sum = 0;
      for (int64_t j = 0; j < d; ++j) {
        const double x = static_cast<double>(a[j]) - static_cast<double>(b[j]);
        sum += x * x;
      }
      Floats out(1);
      out[0] = squared_distance(a.data(), b.data(), d);
      CHECK(std::abs(static_cast<double>(out[0]) - sum) < 1e-5 * (1 + sum));
      CHECK(squared_distance(a.data(), a.data(), d) == 0);
      return out;
    });
}
