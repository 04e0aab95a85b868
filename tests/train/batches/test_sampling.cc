// The streaming estimate of how often an item turns up.

#include <doctest/doctest.h>
#include <twotower/tensor/random.h>
#include <twotower/train/batches/sampling.h>

#include <algorithm>
#include <cmath>

#include "tests/train/fixtures.h"

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

// What training sees: log Q of an item at the moments when the item comes, after the first `skip` examples.
// The mean of log(estimate / truth) over the items of a range of ranks, and the root of its mean square.
struct Drift {
  double sum = 0, squares = 0, n = 0;
  void add(double x) { sum += x, squares += x * x, n += 1; }
  double bias() const { return sum / n; }
  double spread() const { return std::sqrt(squares / n); }
};

TEST_CASE("frequency estimation: head, torso and tail of a long stream, at the moments of use") {
  const std::vector<double> p = zipf(5000, 1.0);
  const Draws draws(p, 7);
  FrequencyEstimator estimator(5000, 0.01, 5000);
  Drift head, torso, tail;
  const uint64_t length = 2000000;
  for (uint64_t t = 0; t < length; ++t) {
    const int64_t item = draws(t);
    estimator.observe(item);
    if (t < length / 4) continue;
    (item < 50     ? head
     : item < 1000 ? torso
                   : tail)
        .add(std::log(estimator.probability(item) / p[static_cast<size_t>(item)]));
  }
  CHECK(std::abs(head.bias()) < 0.01);
  CHECK(head.spread() < 0.09);  // sqrt(0.01 / 2) = 0.07
  CHECK(std::abs(torso.bias()) < 0.02);
  CHECK(torso.spread() < 0.12);
  CHECK(std::abs(tail.bias()) < 0.05);  // 22 to 220 occurrences each
  CHECK(tail.spread() < 0.25);
}

TEST_CASE("frequency estimation: the first occurrences count for what they are") {
  const int64_t n = 1000000;  // examples; 1000 items hold nearly all, item 1000 comes ten times, evenly
  FrequencyEstimator estimator(2000, 0.01, 1000);
  for (int64_t t = 1; t <= n; ++t) estimator.observe(t % (n / 10) == 0 ? 1000 : t % 1000);
  CHECK(estimator.probability(1000) == doctest::Approx(10.0 / n).epsilon(0.01));
  CHECK(estimator.probability(7) == doctest::Approx(1e-3).epsilon(0.01));
  CHECK(estimator.probability(1500) == doctest::Approx(1.0 / (n + 1000)));  // never: not oftener than once
}

TEST_CASE("frequency estimation: epochs shuffled anew leave no seam") {
  // Item i < 10 comes 10^4 / 2^i times an epoch, items 10 .. 1009 once each.
  std::vector<int64_t> epoch;
  for (int64_t i = 0; i < 10; ++i) epoch.insert(epoch.end(), static_cast<size_t>(10000 >> i), i);
  for (int64_t i = 10; i < 1010; ++i) epoch.push_back(i);
  const auto n = static_cast<int64_t>(epoch.size());
  FrequencyEstimator estimator(1010, 0.01, 1010);
  const auto once = [&](Drift& drift) {
    for (int64_t i = 10; i < 1010; ++i) drift.add(std::log(estimator.probability(i) * static_cast<double>(n)));
  };
  for (int64_t e = 0; e < 30; ++e) {
    std::vector<int64_t> order = epoch;
    Philox(3, static_cast<uint64_t>(e)).shuffle(order.data(), n);
    for (const int64_t item : order) estimator.observe(item);
    if (e == 0) {  // one occurrence each: a uniform moment, so E log = -1, and it is no more than a hint
      Drift drift;
      once(drift);
      CHECK(drift.bias() < 1.05);
    }
  }
  Drift drift;
  once(drift);
  CHECK(std::abs(drift.bias()) < 0.03);
  CHECK(drift.spread() < 0.05);  // in the n-th epoch t = n N, give or take half an epoch
  for (int64_t i = 0; i < 10; ++i)
    CHECK(estimator.probability(i) ==
          doctest::Approx(static_cast<double>(10000 >> i) / static_cast<double>(n)).epsilon(0.25));
}

TEST_CASE("frequency estimation: many at once are as many one by one") {
  const Philox random(3);
  std::vector<int64_t> items;
  for (uint64_t t = 0; t < 500; ++t) items.push_back(static_cast<int64_t>(random.below(t, 60)));
  FrequencyEstimator one(50, 0.01, 50), many(50, 0.01, 50);
  for (const int64_t item : items) one.observe(item);
  many.observe(items.data(), 3);  // fewer than are fetched ahead
  many.observe(items.data() + 3, 497);
  many.observe(items.data(), 0);
  for (int64_t item = 0; item < 60; ++item) CHECK(one.probability(item) == many.probability(item));
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

TEST_CASE("frequency estimation: what two items share makes them look more frequent, several arrays less so") {
  const std::vector<double> p = zipf(2000, 0.5);
  const Draws draws(p, 3);
  const auto error = [&](int arrays, int64_t slots) {
    FrequencyEstimator estimator(slots, 0.02, 2000, arrays);
    for (uint64_t t = 0; t < 400000; ++t) estimator.observe(draws(t));
    double sum = 0;
    for (int64_t i = 0; i < 2000; ++i) sum += std::log(estimator.probability(i) / p[static_cast<size_t>(i)]);
    return sum / 2000;
  };
  const double one = error(1, 700), two = error(2, 700), four = error(4, 700);
  CHECK(one > two);
  CHECK(two > four);
  CHECK(one > 0.3);             // crowded: overestimated
  CHECK(error(1, 2000) < 0.1);  // a slot each: right
}

TEST_CASE("frequency estimation: any id, bounded memory, sane probabilities") {
  FrequencyEstimator tiny(3, 0.5, 10);
  CHECK(tiny.probability(12345) == doctest::Approx(0.1));         // nothing seen: the gap that was assumed
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
