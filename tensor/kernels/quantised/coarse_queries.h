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

// n queries in memory of the caller's, in panels for CoarseTable::scan.
class PreparedQueries {
 public:
  static std::size_t bytes(const QuantisedRows& rows, const CoarseTable& table, int64_t n);  // whole cache lines
  PreparedQueries() = default;
  PreparedQueries(void* memory, const QuantisedRows& rows, const CoarseTable& table, const float* queries, int64_t n);

  int64_t groups() const { return groups_; }  // CoarseTile::groups
  int64_t each() const { return each_; }      // queries of a panel, but for the last
  // Of queries q .. q + each - 1; q is a multiple of each.
  CoarseQueries panel(int64_t q, const float* thresholds) const {
    return {words_ + q / each_ * panel_, start_ + q, unit_ + q, slack_ + q, thresholds + q, std::min(each_, n_ - q)};
  }
  // What holds the product with a row, of which scan() said `sum`.
  Candidate interval(int64_t q, float sum, float scale, int64_t row) const {
    const float unit = unit_[q] / scale, slack = slack_[q];
    return {(sum - slack) * unit - least_, (sum + slack) * unit + least_, static_cast<uint32_t>(row)};
  }
  float least() const { return least_; }  // what sums of numbers too small for float may be off

 private:
  int32_t *words_ = nullptr, *start_ = nullptr;
  float *unit_ = nullptr, *slack_ = nullptr;
  int64_t groups_ = 0, each_ = 1, panel_ = 0, n_ = 0;
  float least_ = 0;
};

}  // namespace tt::kernels
