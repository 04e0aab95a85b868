#pragma once
// Which rows a search may return, and the walk over those that it must look at.

#include <algorithm>
#include <bit>
#include <cstdint>

namespace tt::kernels {

struct RowsToSearch {
  const int64_t* skip_offsets = nullptr;  // [Q + 1] into skip_rows; null: nothing is left out
  const int64_t* skip_rows = nullptr;     // ascending for each query
  const uint64_t* allowed = nullptr;      // row r is bit r % 64 of word r / 64; null: all

  bool is_allowed(int64_t row) const { return allowed == nullptr || (allowed[row / 64] >> (row % 64) & 1) != 0; }
  bool may_return(int64_t q, int64_t row) const {
    return is_allowed(row) && (skip_offsets == nullptr ||
                               !std::binary_search(skip_rows + skip_offsets[q], skip_rows + skip_offsets[q + 1], row));
  }

  // f(from, count, ids) over [lo, hi) in ascending order, at most `most` rows at a time. Where half of 64 rows are
  // allowed or more they come as they lie, with ids null: rows from, from + 1, ..., of which some may not be returned.
  // Of others only those that are allowed come, as a list (`buffer` has `most` places).
  template <class F>
  void tiles(int64_t lo, int64_t hi, int64_t most, int64_t* buffer, F&& f) const {
    const int64_t* none = nullptr;
    const auto as_they_lie = [&](int64_t from, int64_t to) {
      for (; from < to; from += most) f(from, std::min(most, to - from), none);
    };
    if (allowed == nullptr) return as_they_lie(lo, hi);
    int64_t held = 0, dense = lo;  // rows in the buffer; where the dense rows that are not yet done begin
    const auto list = [&] {
      if (held > 0) f(buffer[0], held, static_cast<const int64_t*>(buffer));
      held = 0;
    };
    for (int64_t row = lo; row < hi;) {
      const int64_t end = std::min(hi, (row / 64 + 1) * 64);
      uint64_t word = allowed[row / 64] >> (row % 64);
      if (end - row < 64) word &= (uint64_t{1} << (end - row)) - 1;
      if (2 * std::popcount(word) >= end - row) {
        list();
      } else {
        as_they_lie(dense, row);
        for (; word != 0; word &= word - 1) {
          buffer[held++] = row + std::countr_zero(word);
          if (held == most) list();
        }
        dense = end;
      }
      row = end;
      if (dense < end || row == hi) continue;
      int64_t at = row / 64;  // most words of a filter of few rows are empty
      while (at < (hi + 63) / 64 && allowed[at] == 0) ++at;
      row = dense = std::min(hi, at * 64);
    }
    list();
    as_they_lie(dense, hi);
  }
};

}  // namespace tt::kernels
