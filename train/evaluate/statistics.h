#pragma once
// The statistics that the measures need.

#include <cstdint>
#include <string>
#include <vector>

namespace tt {

// Kendall's tau-b of two orders of the same n things, in O(n log n) (Knight 1966); NaN if either is all ties or n < 2.
double kendall_tau(const float* a, const float* b, int64_t n);

// Pairs that differ in both a and b, and how many of them lie the same way round in both; pairs tied in b only or in a
// only are counted apart.
struct PairCounts {
  int64_t pairs = 0, concordant = 0, discordant = 0, tied_a = 0, tied_b = 0, tied_both = 0;
};
PairCounts count_pairs(const float* a, const float* b, int64_t n);

struct Interval {
  std::string name;
  double low, high;
};

// The percentile bootstrap (Efron 1979): 95 % intervals of the columns' means over rows drawn with replacement.
// values: [rows, columns]; NaN entries are left out. Seeded, the same for any number of threads.
std::vector<Interval> bootstrap_means(const std::vector<float>& values, const std::vector<std::string>& columns,
                                      int64_t resamples, uint64_t seed);

// Means of a - b over the rows where both have a value, and the 95 % intervals of these means: as bootstrap_means, so
// that what makes a row easy or hard for both takes no part. a, b: [rows, columns].
struct Difference {
  std::string name;
  double mean, low, high;
};
std::vector<Difference> paired_differences(const std::vector<float>& a, const std::vector<float>& b,
                                           const std::vector<std::string>& columns, int64_t resamples, uint64_t seed);

// The value below which a share p in [0, 1] of the sorted values lies, interpolated.
double percentile(const std::vector<double>& sorted, double p);

}  // namespace tt
