#include <twotower/tensor/error.h>
#include <twotower/train/data/features.h>

#include <cmath>

namespace tt {

namespace {

// Mean and standard deviation of the numbers that are there.
void fit_numeric(const FeatureColumn& column, FeatureInfo& info) {
  double sum = 0, squares = 0;
  int64_t count = 0;
  for (const double x : column.numbers) {
    check(!std::isinf(x), "features", "column \"", column.name, "\" holds an infinite number; mend the file");
    if (!std::isnan(x)) sum += x, ++count;
  }
  info.missing = static_cast<int64_t>(column.numbers.size()) - count;
  info.mean = count ? sum / static_cast<double>(count) : 0;
  for (const double x : column.numbers)
    if (!std::isnan(x)) squares += (x - info.mean) * (x - info.mean);
  info.stddev = count ? std::sqrt(squares / static_cast<double>(count)) : 0;
  check(std::isfinite(info.mean) && std::isfinite(info.stddev), "features", "column \"", column.name,
        "\" holds numbers too large to take a mean and a spread of; scale it, or take logarithms");
  if (info.stddev > 1e-9 * std::max(1.0, std::abs(info.mean)))
    info.width = 1;
  else
    info.left_out = "the same value in every row";
}

void fit_categories(const FeatureColumn& column, int64_t rows, const FeatureOptions& options, FeatureInfo& info) {
  const bool multi = column.kind == FeatureColumn::Kind::multi;
  const auto distinct = static_cast<int64_t>(column.vocabulary.size());
  for (int64_t r = 0; r < rows; ++r) {
    const auto at = static_cast<size_t>(r);
    info.missing += multi ? column.offsets[at] == column.offsets[at + 1] : column.codes[at] < 0;
  }
  if (distinct > options.max_categories)
    info.left_out = std::to_string(distinct) + " distinct values, more than " + std::to_string(options.max_categories);
  else if (distinct == 0 || (distinct == 1 && info.missing == 0))
    info.left_out = "the same value in every row";
  else
    info.width = distinct;
  if (!multi) info.codes = column.codes;
  if (!multi || info.left_out.empty()) info.vocabulary = column.vocabulary;
}

void fill(const FeatureColumn& column, const FeatureInfo& info, FeatureMatrix& matrix) {
  for (int64_t r = 0; r < matrix.rows; ++r) {
    const auto at = static_cast<size_t>(r);
    float* out = matrix.values.data() + r * matrix.width() + info.first;
    switch (column.kind) {
      case FeatureColumn::Kind::numeric: {
        const double x = column.numbers[at];
        out[0] = std::isnan(x) ? 0.0f : static_cast<float>((x - info.mean) / info.stddev);
        break;
      }
      case FeatureColumn::Kind::categorical:
        if (column.codes[at] >= 0) out[column.codes[at]] = 1;
        break;
      case FeatureColumn::Kind::multi:
        for (int64_t k = column.offsets[at]; k < column.offsets[at + 1]; ++k)
          out[column.values[static_cast<size_t>(k)]] = 1;
    }
  }
}

}  // namespace

FeatureMatrix assemble_features(const std::vector<FeatureColumn>& columns, int64_t rows,
                                const FeatureOptions& options) {
  FeatureMatrix matrix;
  matrix.rows = rows;
  for (const FeatureColumn& column : columns) {
    FeatureInfo info;
    info.name = column.name;
    info.kind = column.kind;
    info.first = matrix.width();
    if (column.kind == FeatureColumn::Kind::numeric)
      fit_numeric(column, info);
    else
      fit_categories(column, rows, options, info);
    for (int64_t k = 0; k < info.width; ++k)
      matrix.columns.push_back(column.kind == FeatureColumn::Kind::numeric
                                   ? column.name
                                   : column.name + "=" + column.vocabulary[static_cast<size_t>(k)]);
    matrix.info.push_back(std::move(info));
  }
  matrix.values.assign(static_cast<size_t>(rows * matrix.width()), 0.0f);
  for (size_t c = 0; c < columns.size(); ++c)
    if (matrix.info[c].width > 0) fill(columns[c], matrix.info[c], matrix);
  return matrix;
}

}  // namespace tt
