#pragma once
// What a search is asked and answers, whatever index it goes through.

#include <cstdint>
#include <span>
#include <vector>

namespace tt {

// The answers to Q queries. A query for which fewer than k items are left has fewer; the rest of its row holds item -1
// and score -inf, and items() and scores() leave it out.
struct TopItems {
  int64_t k = 0;
  std::vector<int64_t> rows;    // [Q, k] item rows, best first
  std::vector<float> values;    // [Q, k]
  std::vector<int64_t> counts;  // [Q]

  void resize(int64_t queries, int64_t top);
  int64_t queries() const { return static_cast<int64_t>(counts.size()); }
  std::span<const int64_t> items(int64_t q) const { return {rows.data() + q * k, found(q)}; }
  std::span<const float> scores(int64_t q) const { return {values.data() + q * k, found(q)}; }

 private:
  size_t found(int64_t q) const { return static_cast<size_t>(counts[static_cast<size_t>(q)]); }
};

// The share of the items wanted that were found, over all queries; 1 where none is wanted.
double share_found(const TopItems& found, const TopItems& wanted);

// Item rows to leave out, by query: rows[offsets[q] .. offsets[q + 1]), ascending and without repeats.
struct SkipRows {
  std::vector<int64_t> offsets, rows;
  void clear() { offsets.assign(1, 0), rows.clear(); }
};

// Which rows a search may return. What is left out does not take a place: of k best rows, those are returned that are
// the best of the rest.
struct RowFilter {
  const SkipRows* skip = nullptr;          // rows to leave out, by query
  std::span<const uint64_t> allowed = {};  // row r is bit r % 64 of word r / 64; empty: all rows are allowed
};

}  // namespace tt
