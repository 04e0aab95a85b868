#pragma once
// Sets of rows as bits: row r is bit r % 64 of word r / 64, and bits behind the last row are 0.

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace tt {

using RowBits = std::vector<uint64_t>;

inline bool has_row(std::span<const uint64_t> bits, int64_t row) {
  return (bits[static_cast<size_t>(row / 64)] >> (row % 64) & 1) != 0;
}

inline void set_row(RowBits& bits, int64_t row, bool in) {
  const uint64_t bit = uint64_t{1} << (row % 64);
  uint64_t& word = bits[static_cast<size_t>(row / 64)];
  word = in ? word | bit : word & ~bit;
}

inline RowBits no_rows(int64_t rows) { return RowBits(static_cast<size_t>((rows + 63) / 64), 0); }

inline RowBits all_rows(int64_t rows) {
  RowBits bits(static_cast<size_t>((rows + 63) / 64), ~uint64_t{0});
  if (rows % 64 != 0) bits.back() >>= 64 - rows % 64;
  return bits;
}

inline int64_t count_rows(std::span<const uint64_t> bits) {
  int64_t count = 0;
  for (const uint64_t word : bits) count += std::popcount(word);
  return count;
}

}  // namespace tt
