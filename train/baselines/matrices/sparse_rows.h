#pragma once
// A matrix of which most entries are 0, by rows.

#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace tt {

struct SparseRows {
  struct Entry {
    int32_t column;
    float value;
  };
  std::vector<int64_t> offsets = {0};  // [rows + 1]
  std::vector<Entry> entries;          // ascending by column within a row
  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
  std::span<const Entry> row(int64_t i) const {
    const auto r = static_cast<size_t>(i);
    return {entries.data() + offsets[r], static_cast<size_t>(offsets[r + 1] - offsets[r])};
  }
};

SparseRows transpose(const SparseRows& matrix, int64_t columns);

// Adds up one row.
class RowSum {
 public:
  explicit RowSum(int64_t columns) : sums_(static_cast<size_t>(columns), 0) {}
  void add(int32_t column, double value) {  // value > 0
    double& sum = sums_[static_cast<size_t>(column)];
    if (sum == 0) touched_.push_back(column);
    sum += value;
  }
  // What was added, ascending by column; then all is 0 again.
  std::vector<SparseRows::Entry> take();

 private:
  std::vector<double> sums_;
  std::vector<int32_t> touched_;
};

// Row i is what make(i, sum) returns; sum is all 0 at every call.
template <class Make>
SparseRows make_rows(int64_t rows, int64_t columns, Make make) {
  constexpr int64_t kGrain = 128;
  std::vector<std::vector<std::vector<SparseRows::Entry>>> parts(static_cast<size_t>((rows + kGrain - 1) / kGrain));
  parallel_for(0, rows, kGrain, [&](int64_t begin, int64_t end) {
    RowSum sum(columns);
    for (int64_t i = begin; i < end; ++i) parts[static_cast<size_t>(begin / kGrain)].push_back(make(i, sum));
  });
  SparseRows out;
  for (auto& part : parts)
    for (auto& row : part) {
      out.entries.insert(out.entries.end(), row.begin(), row.end());
      out.offsets.push_back(static_cast<int64_t>(out.entries.size()));
      row = {};
    }
  return out;
}

}  // namespace tt
