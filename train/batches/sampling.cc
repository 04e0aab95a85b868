#include <twotower/tensor/error.h>
#include <twotower/train/batches/sampling.h>

#include <algorithm>
#include <cmath>

namespace tt {

double log_expected_count(double logged, double probability, double uniform, double items) {
  constexpr double kLeast = 1e-30;  // a row without any negative has no Q at all
  return std::log(std::max(logged * probability + uniform / items, kLeast));
}

FrequencyEstimator::FrequencyEstimator(int64_t slots, double rate, double initial_gap, int arrays)
    : slots_(slots), rate_(rate), initial_gap_(initial_gap), arrays_(arrays) {
  check(slots >= 1 && arrays >= 1 && rate > 0 && rate <= 1 && initial_gap >= 1, "sampling",
        "a frequency estimator needs at least one slot, a rate in (0, 1] and an initial gap of at least 1");
  table_.resize(static_cast<size_t>(slots * arrays));
}

std::size_t FrequencyEstimator::slot(int array, int64_t item) const {
  uint64_t h = static_cast<uint64_t>(item);
  if (array > 0) {  // splitmix64's finisher, another constant for each array
    h += 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(array);
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
    h ^= h >> 31;
  }
  return static_cast<size_t>(static_cast<int64_t>(h % static_cast<uint64_t>(slots_)) + array * slots_);
}

void FrequencyEstimator::observe(int64_t item) {
  ++time_;
  for (int a = 0; a < arrays_; ++a) {
    Slot& s = table_[slot(a, item)];
    const double gap = s.hits > 0 ? static_cast<double>(time_ - s.last) : static_cast<double>(time_) + initial_gap_;
    ++s.hits;
    s.gap += std::max(rate_, 1 / static_cast<double>(s.hits)) * (gap - s.gap);
    s.last = time_;
  }
}

void FrequencyEstimator::observe(const int64_t* items, int64_t n) {
  constexpr int64_t kAhead = 16;  // a slot in memory comes within the time that so many in the cache take
  for (int64_t i = 0; i < n; ++i) {
    if (i + kAhead < n)
      for (int a = 0; a < arrays_; ++a) __builtin_prefetch(&table_[slot(a, items[i + kAhead])], 1);
    observe(items[i]);
  }
}

double FrequencyEstimator::probability(int64_t item) const {
  double gap = 1;
  for (int a = 0; a < arrays_; ++a) {
    const Slot& s = table_[slot(a, item)];
    gap = std::max(gap, s.hits > 0 ? s.gap : static_cast<double>(time_) + initial_gap_);
  }
  return 1 / gap;
}

}  // namespace tt
