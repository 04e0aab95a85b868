#pragma once
// Queries as a coarse scan reads them, and how far its scores may be off.

#include <twotower/tensor/kernels/quantised/candidates.h>
#include <twotower/tensor/kernels/quantised/quantised.h>
#include <twotower/tensor/kernels/quantised/quantised_body.h>

#include <cstddef>
#include <cstdint>

namespace tt::kernels {

// Whether the scores of these queries lie in the intervals, and these are of use: no query is infinite, so long that
// products may overflow, or zero. NaN is well: it reaches no threshold.
bool intervals_hold(const QuantisedRows& rows, const float* queries, int64_t n);

// n queries in memory of the caller's. Arrays have kQueryTile places more, which nothing reaches.
class PreparedQueries {
 public:
  static std::size_t bytes(const QuantisedRows& rows, int64_t n);  // whole cache lines
  PreparedQueries() = default;
  // words: CoarseTable::words
  PreparedQueries(void* memory, const QuantisedRows& rows, const float* queries, int64_t n, int64_t words);

  // Queries q .. q + n - 1.
  CoarseQueries tile(int64_t q, int64_t n, const float* thresholds) const {
    return {words_ + q * stride_, stride_, n, start_ + q, unit_ + q, slack_ + q, thresholds + q};
  }
  // Of a row whose product, without its scale, is `product`.
  Candidate interval(int64_t q, float product, float scale, int64_t row) const {
    const float slack = slack_[q];
    return {std::nextafter((product - slack) * scale - least_, -std::numeric_limits<float>::infinity()),
            std::nextafter((product + slack) * scale + least_, std::numeric_limits<float>::infinity()),
            static_cast<uint32_t>(row)};
  }

  int64_t groups = 0;  // CoarseTile::groups
  float least() const { return least_; }

 private:
  int32_t *words_ = nullptr, *start_ = nullptr;
  float *unit_ = nullptr, *slack_ = nullptr;
  int64_t stride_ = 0;
  float least_ = 0;  // what sums of numbers too small for float may be off
};

}  // namespace tt::kernels
