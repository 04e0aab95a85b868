#include <twotower/train/baselines/matrices/sparse_rows.h>

namespace tt {

SparseRows transpose(const SparseRows& matrix, int64_t columns) {
  SparseRows out;
  out.offsets.assign(static_cast<size_t>(columns) + 1, 0);
  for (const auto& [column, value] : matrix.entries) ++out.offsets[static_cast<size_t>(column) + 1];
  for (size_t c = 0; c + 1 < out.offsets.size(); ++c) out.offsets[c + 1] += out.offsets[c];
  out.entries.resize(matrix.entries.size());
  std::vector<int64_t> next(out.offsets.begin(), out.offsets.end() - 1);
  for (int64_t i = 0; i < matrix.rows(); ++i)
    for (const auto& [column, value] : matrix.row(i))
      out.entries[static_cast<size_t>(next[static_cast<size_t>(column)]++)] = {static_cast<int32_t>(i), value};
  return out;
}

std::vector<SparseRows::Entry> RowSum::take() {
  std::sort(touched_.begin(), touched_.end());
  std::vector<SparseRows::Entry> out;
  out.reserve(touched_.size());
  for (const int32_t column : touched_) {
    double& sum = sums_[static_cast<size_t>(column)];
    out.push_back({column, static_cast<float>(sum)});
    sum = 0;
  }
  touched_.clear();
  return out;
}

}  // namespace tt
