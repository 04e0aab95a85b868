#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/evaluate/statistics.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tt {
namespace {

int64_t choose2(int64_t n) { return n * (n - 1) / 2; }

// Sorts v ascending and returns how many pairs stood the wrong way round.
int64_t sort_counting_inversions(float* v, float* scratch, int64_t n) {
  if (n < 2) return 0;
  const int64_t half = n / 2;
  int64_t inversions =
      sort_counting_inversions(v, scratch, half) + sort_counting_inversions(v + half, scratch, n - half);
  int64_t i = 0, j = half, out = 0;
  while (i < half && j < n) {
    if (v[j] < v[i])
      inversions += half - i, scratch[out++] = v[j++];
    else
      scratch[out++] = v[i++];
  }
  while (i < half) scratch[out++] = v[i++];
  while (j < n) scratch[out++] = v[j++];
  std::copy_n(scratch, n, v);
  return inversions;
}

template <class Same>
int64_t tied_pairs(int64_t n, Same same) {
  int64_t ties = 0, run = 1;
  for (int64_t i = 1; i <= n; ++i) {
    if (i < n && same(i - 1, i))
      ++run;
    else
      ties += choose2(run), run = 1;
  }
  return ties;
}

}  // namespace

PairCounts count_pairs(const float* a, const float* b, int64_t n) {
  PairCounts out;
  out.pairs = choose2(n);
  if (n < 2) return out;
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return a[i] != a[j] ? a[i] < a[j] : b[i] < b[j]; });
  const auto at = [&](int64_t i) { return order[static_cast<size_t>(i)]; };
  const int64_t same_a = tied_pairs(n, [&](int64_t i, int64_t j) { return a[at(i)] == a[at(j)]; });
  out.tied_both = tied_pairs(n, [&](int64_t i, int64_t j) { return a[at(i)] == a[at(j)] && b[at(i)] == b[at(j)]; });
  std::vector<float> sorted(static_cast<size_t>(n)), scratch(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) sorted[static_cast<size_t>(i)] = b[at(i)];
  out.discordant = sort_counting_inversions(sorted.data(), scratch.data(), n);
  const int64_t same_b = tied_pairs(
      n, [&](int64_t i, int64_t j) { return sorted[static_cast<size_t>(i)] == sorted[static_cast<size_t>(j)]; });
  out.tied_a = same_a - out.tied_both;
  out.tied_b = same_b - out.tied_both;
  out.concordant = out.pairs - out.discordant - out.tied_a - out.tied_b - out.tied_both;
  return out;
}

double kendall_tau(const float* a, const float* b, int64_t n) {
  const PairCounts c = count_pairs(a, b, n);
  const double differ_a = static_cast<double>(c.pairs - c.tied_a - c.tied_both);
  const double differ_b = static_cast<double>(c.pairs - c.tied_b - c.tied_both);
  if (differ_a == 0 || differ_b == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(c.concordant - c.discordant) / std::sqrt(differ_a * differ_b);
}

double percentile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double place = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

std::vector<Interval> bootstrap_means(const std::vector<float>& values, const std::vector<std::string>& columns,
                                      int64_t resamples, uint64_t seed) {
  const auto m = static_cast<int64_t>(columns.size());
  const int64_t n = m > 0 ? static_cast<int64_t>(values.size()) / m : 0;
  std::vector<double> means(static_cast<size_t>(m * resamples));  // [m, resamples]
  parallel_for(0, resamples, 8, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(m));
    std::vector<int64_t> count(static_cast<size_t>(m));
    for (int64_t r = begin; r < end; ++r) {
      std::fill(sum.begin(), sum.end(), 0.0);
      std::fill(count.begin(), count.end(), 0);
      const Philox random(seed, static_cast<uint64_t>(r) + 1);
      for (int64_t i = 0; i < n; ++i) {
        const float* row =
            values.data() + m * static_cast<int64_t>(random.below(static_cast<uint64_t>(i), static_cast<uint64_t>(n)));
        for (size_t c = 0; c < sum.size(); ++c)
          if (!std::isnan(row[c])) sum[c] += row[c], ++count[c];
      }
      for (int64_t c = 0; c < m; ++c)
        means[static_cast<size_t>(c * resamples + r)] =
            sum[static_cast<size_t>(c)] / static_cast<double>(count[static_cast<size_t>(c)]);
    }
  });
  std::vector<Interval> out;
  for (int64_t c = 0; c < m; ++c) {
    std::vector<double> sorted(means.begin() + c * resamples, means.begin() + (c + 1) * resamples);
    std::erase_if(sorted, [](double x) { return std::isnan(x); });
    if (sorted.empty()) continue;
    std::sort(sorted.begin(), sorted.end());
    out.push_back({columns[static_cast<size_t>(c)], percentile(sorted, 0.025), percentile(sorted, 0.975)});
  }
  return out;
}

std::vector<Difference> paired_differences(const std::vector<float>& a, const std::vector<float>& b,
                                           const std::vector<std::string>& columns, int64_t resamples, uint64_t seed) {
  const size_t width = columns.size();
  std::vector<float> differences(a.size());
  std::vector<double> sum(width, 0), count(width, 0);
  for (size_t i = 0; i < a.size(); ++i) {
    differences[i] = a[i] - b[i];
    if (!std::isnan(differences[i])) sum[i % width] += static_cast<double>(differences[i]), count[i % width] += 1;
  }
  std::vector<Difference> out;
  for (const Interval& interval : bootstrap_means(differences, columns, resamples, seed)) {
    const auto c = static_cast<size_t>(std::find(columns.begin(), columns.end(), interval.name) - columns.begin());
    out.push_back({interval.name, sum[c] / count[c], interval.low, interval.high});
  }
  return out;
}

}  // namespace tt
