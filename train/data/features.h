#pragma once
// From the columns of a user or item file to one dense matrix: numbers are standardised, a category becomes
// one-hot, a set of categories multi-hot. The constants stay beside the matrix, so that new rows can be
// encoded the same way.

#include <cstdint>
#include <string>
#include <vector>

namespace tt {

struct FeatureColumn {
  enum class Kind { numeric, categorical, multi };
  std::string name;
  Kind kind = Kind::numeric;
  std::vector<double> numbers;          // numeric: [rows], NaN where missing
  std::vector<int32_t> codes;           // categorical: [rows], -1 where missing
  std::vector<int64_t> offsets;         // multi: [rows + 1] into values
  std::vector<int32_t> values;          // multi: codes, row after row
  std::vector<std::string> vocabulary;  // categorical and multi: code -> text
};

// What became of one FeatureColumn.
struct FeatureInfo {
  std::string name;
  FeatureColumn::Kind kind = FeatureColumn::Kind::numeric;
  int64_t first = 0, width = 0;  // its columns of the matrix; width 0 when it was left out
  double mean = 0, stddev = 1;   // numeric
  int64_t missing = 0;           // rows without a value: the mean for numbers, all zeros otherwise
  std::string left_out;          // why, or ""
  std::vector<std::string> vocabulary;
  std::vector<int32_t> codes;  // categorical: kept also when left out of the matrix, for an embedding
};

struct FeatureMatrix {
  int64_t rows = 0;
  std::vector<std::string> columns;  // a name each: "age", "gender=F", "class=Drama"
  std::vector<float> values;         // [rows, columns]
  std::vector<FeatureInfo> info;
  int64_t width() const { return static_cast<int64_t>(columns.size()); }
};

struct FeatureOptions {
  int64_t max_categories = 64;  // a categorical or multi column with more distinct values is left out of the matrix
};

FeatureMatrix assemble_features(const std::vector<FeatureColumn>& columns, int64_t rows,
                                const FeatureOptions& options = {});

}  // namespace tt
