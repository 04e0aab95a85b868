// The streaming estimate of how often an item turns up.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tensor/random.h"
#include "tests/train/fixtures.h"
#include "train/sampling.h"

using namespace tt;

namespace {

std::vector<double> zipf(size_t items, double exponent) {
  std::vector<double> p(items);
  double total = 0;
  for (size_t i = 0; i < items; ++i) total += p[i] = std::pow(static_cast<double>(i + 1), -exponent);
  for (double& x : p) x /= total;
  return p;
}

// Draws from p; number `index` of the stream.
class Draws {
 public:
  Draws(const std::vector<double>& p, uint64_t stream) : random_(31, stream) {
    double sum = 0;
    for (const double x : p) cumulative_.push_back(sum += x);
  }
  int64_t operator()(uint64_t index) const {
    const auto at =
        std::upper_bound(cumulative_.begin(), cumulative_.end(), random_.uniform(index) * cumulative_.back());
    return std::min(at - cumulative_.begin(), static_cast<std::ptrdiff_t>(cumulative_.size()) - 1);
  }

 private:
  Philox random_;
  std::vector<double> cumulative_;
};

}  // namespace

TEST_CASE("frequency estimation converges to the true frequencies under Zipf") {
  const std::vector<double> p = zipf(200, 1.0);
  const Draws draws(p, 1);
  FrequencyEstimator estimator(4096, 0.01, 200);
  for (uint64_t t = 0; t < 1000000; ++t) estimator.observe(draws(t));
  // The average gap of a memoryless item has a relative deviation of about sqrt(rate / 2) = 0.07.
  double error = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double ratio = estimator.probability(static_cast<int64_t>(i)) / p[i];
    CHECK(ratio == doctest::Approx(1).epsilon(0.35));
    error += std::abs(std::log(ratio)) / static_cast<double>(p.size());
  }
  CHECK(error < 0.08);
}

TEST_CASE("frequency estimation follows a change") {
  const std::vector<double> before = zipf(50, 1.0);
  std::vector<double> after(before.rbegin(), before.rend());
  const Draws first(before, 1), second(after, 2);
  FrequencyEstimator estimator(1024, 0.05, 50);
  for (uint64_t t = 0; t < 50000; ++t) estimator.observe(first(t));
  CHECK(estimator.probability(0) > 10 * estimator.probability(49));
  for (uint64_t t = 0; t < 50000; ++t) estimator.observe(second(t));
  CHECK(estimator.probability(49) > 10 * estimator.probability(0));
}

TEST_CASE(
    "frequency estimation: what two items share makes them look more frequent, several arrays less so") {
  const std::vector<double> p = zipf(2000, 0.5);
  const Draws draws(p, 3);
  const auto error = [&](int arrays, int64_t slots) {
    FrequencyEstimator estimator(slots, 0.02, 2000, arrays);
    for (uint64_t t = 0; t < 400000; ++t) estimator.observe(draws(t));
    double sum = 0;
    for (int64_t i = 0; i < 2000; ++i) sum += std::log(estimator.probability(i) / p[static_cast<size_t>(i)]);
    return sum / 2000;
  };
  const double one = error(1, 2000), two = error(2, 2000), four = error(4, 2000);
  CHECK(one > two);
  CHECK(two > four);
  CHECK(one > 0.3);              // crowded: overestimated
  CHECK(error(2, 40000) < 0.1);  // roomy: right
}

TEST_CASE("frequency estimation: any id, bounded memory, sane probabilities") {
  FrequencyEstimator tiny(3, 0.5, 10);
  CHECK(tiny.probability(12345) == doctest::Approx(0.1));         // never seen: the gap that was assumed
  for (int64_t i = 0; i < 10000; ++i) tiny.observe(i * 1000003);  // far more items than slots
  for (int64_t i = 0; i < 100; ++i) {
    CHECK(tiny.probability(i) > 0);
    CHECK(tiny.probability(i) <= 1);
  }
  FrequencyEstimator same(16, 0.5, 10);
  for (int i = 0; i < 50; ++i) same.observe(4);
  CHECK(same.probability(4) == doctest::Approx(1));
  CHECK(error_of([] { FrequencyEstimator(0, 0.5, 10); }) ==
        "[sampling] a frequency estimator needs at least one slot, a rate in (0, 1] and an initial gap of at "
        "least 1");
}
