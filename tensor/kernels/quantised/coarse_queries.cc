#include <twotower/tensor/kernels/quantised/coarse_queries.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace tt::kernels {
namespace {

constexpr double kMost = 1e37;  // of products, sums of them and what is between
constexpr float kLeastUnit = std::numeric_limits<float>::min();

double length_of(const float* x, int64_t d) {
  double squares = 0;
  for (int64_t j = 0; j < d; ++j) squares += static_cast<double>(x[j]) * x[j];
  return std::sqrt(squares);
}

int64_t groups_of(const QuantisedRows& rows) { return rows.format == RowFormat::int8 ? (rows.d + 3) / 4 : rows.d; }

// Evenly: 16 queries are 8 and 8, not 14 and 2.
int64_t panels_of(const CoarseTable& table, int64_t n) { return (n + table.most - 1) / table.most; }
int64_t panel_size(const QuantisedRows& rows, const CoarseTable& table) {
  return groups_of(rows) * kQueryTile * table.words;
}

float round_up(double x) { return std::nextafter(static_cast<float>(x), std::numeric_limits<float>::infinity()); }

// A query's integers of one group of four.
void write_words(const int8_t* x, int64_t words, int32_t* out) {
  const auto byte = [&](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(x[i])); };
  const auto pair = [&](int i, int j) {
    return static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint16_t>(x[i])) |
                                static_cast<uint32_t>(static_cast<uint16_t>(x[j])) << 16);
  };
  if (words == 1)
    *out = static_cast<int32_t>(byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24);
  else
    out[0] = pair(0, 2), out[1] = pair(1, 3);
}

}  // namespace

bool intervals_hold(const QuantisedRows& rows, const float* queries, int64_t n) {
  if (rows.d > 65536) return false;  // sums of 255 * 127 must fit into 31 bits
  const double norm = static_cast<double>(rows.bounds.norm) + static_cast<double>(rows.bounds.error);
  const double most = norm * std::max(1.0, static_cast<double>(rows.bounds.unit));
  for (int64_t q = 0; q < n; ++q) {
    const double length = length_of(queries + q * rows.d, rows.d);
    if (length * most > kMost || length > kMost || length == 0) return false;
  }
  return true;
}

std::size_t PreparedQueries::bytes(const QuantisedRows& rows, const CoarseTable& table, int64_t n) {
  const int64_t words = panels_of(table, n) * panel_size(rows, table) + 3 * (n + kQueryTile);
  return static_cast<std::size_t>(words * 4 + 63) / 64 * 64;
}

PreparedQueries::PreparedQueries(void* memory, const QuantisedRows& rows, const CoarseTable& table,
                                 const float* queries, int64_t n)
    : groups_(groups_of(rows)), panel_(panel_size(rows, table)), n_(n) {
  const int64_t d = rows.d, panels = panels_of(table, n);
  each_ = (n + panels - 1) / panels;
  words_ = static_cast<int32_t*>(memory);
  start_ = words_ + panels * panel_;
  unit_ = reinterpret_cast<float*>(start_ + n + kQueryTile);
  slack_ = unit_ + n + kQueryTile;
  std::fill_n(words_, panels * panel_, 0);
  std::fill_n(start_ + n, kQueryTile, 0);
  least_ = static_cast<float>(d + 16) * 4 * std::numeric_limits<float>::denorm_min();
  const double error = static_cast<double>(rows.bounds.error), norm = static_cast<double>(rows.bounds.norm);
  for (int64_t q = 0; q < n; ++q) {
    const float* x = queries + q * d;
    const auto words = [&](int64_t g) {
      return words_ + q / each_ * panel_ + (g * kQueryTile + q % each_) * table.words;
    };
    const double length = length_of(x, d);
    double off = 0;  // length of what the query's integers leave out
    unit_[q] = 1, start_[q] = 0;
    if (rows.format == RowFormat::fp16) {
      for (int64_t j = 0; j < d; ++j) *words(j) = std::bit_cast<int32_t>(x[j]);
    } else {
      float largest = 0;
      for (int64_t j = 0; j < d; ++j) largest = std::max(largest, std::fabs(x[j]));
      const float unit = unit_[q] = std::max(largest / 127, kLeastUnit);
      int32_t sum = 0;
      for (int64_t j = 0; j < d; j += 4) {
        int8_t four[4] = {};
        for (int64_t i = 0; i < std::min<int64_t>(4, d - j); ++i) {
          const double exact = static_cast<double>(x[j + i]) / static_cast<double>(unit);
          if (std::isnan(exact)) continue;
          four[i] = static_cast<int8_t>(std::clamp(std::lrint(exact), -127l, 127l));
          sum += four[i], off += (exact - four[i]) * (exact - four[i]);
        }
        write_words(four, table.words, words(j / 4));
      }
      start_[q] = -128 * sum;
      off = std::sqrt(off) * static_cast<double>(unit);
    }
    // The row's error, the query's, and rounding: of the sums in float, here and where scores are made, and below.
    const double rounding = static_cast<double>(d + 16) * 0x1p-23 * (norm + error) * (length + off);
    slack_[q] = round_up((error * length + norm * off + rounding) / static_cast<double>(unit_[q]) * (1 + 1e-6));
  }
}

}  // namespace tt::kernels
