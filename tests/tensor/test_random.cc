#include <doctest/doctest.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

using namespace tt;

TEST_CASE("philox gives the known answers of Random123") {
  using Block = std::array<uint32_t, 4>;
  CHECK(philox4x32_10({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint32_t f = 0xffffffff;
  CHECK(philox4x32_10({f, f, f, f}, {f, f}) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("uniform numbers fill [0, 1) evenly") {
  const Philox random(7, 1);
  std::vector<int> bins(10);
  double sum = 0, squares = 0;
  const int n = 100000;
  for (uint64_t i = 0; i < n; ++i) {
    const double u = random.uniform(i);
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    ++bins[static_cast<size_t>(u * 10)];
    sum += u, squares += u * u;
  }
  CHECK(std::abs(sum / n - 0.5) < 0.005);
  CHECK(std::abs(squares / n - 1.0 / 3) < 0.005);
  for (const int count : bins) CHECK(std::abs(count - n / 10) < 500);
}

TEST_CASE("normal numbers have the moments of the normal distribution") {
  const Philox random(7, 2);
  const int n = 200000;
  double moment[5] = {};
  for (uint64_t i = 0; i < n; ++i) {
    const double x = random.normal(i);
    for (int p = 1; p <= 4; ++p) moment[p] += std::pow(x, p) / n;
  }
  CHECK(std::abs(moment[1]) < 0.01);
  CHECK(std::abs(moment[2] - 1) < 0.02);
  CHECK(std::abs(moment[3]) < 0.05);
  CHECK(std::abs(moment[4] - 3) < 0.1);
}

TEST_CASE("streams and seeds differ, and the same triple gives the same number") {
  CHECK(Philox(1, 0).bits(5) == Philox(1, 0).bits(5));
  CHECK(Philox(1, 0).bits(5) != Philox(1, 1).bits(5));
  CHECK(Philox(1, 0).bits(5) != Philox(2, 0).bits(5));
  CHECK(Philox(1, 0).bits(5) != Philox(1, 0).bits(6));
  CHECK(Philox(1, 0).bits(5) != Philox(1, uint64_t{1} << 40).bits(5));
}

TEST_CASE("filling equals asking one by one, on any number of threads and from any index") {
  const Philox random(11, 3);
  const int64_t n = 100001;
  const int threads = num_threads();
  for (const uint64_t first : {uint64_t{0}, uint64_t{7}}) {
    std::vector<float> one(n), many(n);
    set_num_threads(1);
    random.fill_normal(one.data(), n, 1.0f, 2.0f, first);
    set_num_threads(4);
    random.fill_normal(many.data(), n, 1.0f, 2.0f, first);
    CHECK(one == many);
    for (const int64_t i : {0, 1, 2, 32767, 32768, 100000})
      CHECK(one[static_cast<size_t>(i)] ==
            static_cast<float>(1.0 + 2.0 * random.normal(first + static_cast<uint64_t>(i))));
    random.fill_uniform(many.data(), n, -1.0f, 1.0f, first);
    CHECK(many[100] == static_cast<float>(-1.0 + 2.0 * random.uniform(first + 100)));
  }
  set_num_threads(threads);
}

TEST_CASE("below stays below, and shuffle keeps every value") {
  const Philox random(3, 4);
  for (uint64_t i = 0; i < 1000; ++i) CHECK(random.below(i, 7) < 7);
  CHECK(random.below(0, 1) == 0);
  std::vector<int> values(1000), sorted;
  std::iota(values.begin(), values.end(), 0);
  sorted = values;
  random.shuffle(values.data(), 1000);
  CHECK(values != sorted);
  std::sort(values.begin(), values.end());
  CHECK(values == sorted);
}
