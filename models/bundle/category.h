#pragma once
// A column of categories that items have: what a filter asks for, and where a title comes from.

#include <twotower/models/bundle/id_table.h>
#include <twotower/tensor/error.h>

#include <algorithm>
#include <span>
#include <string>

namespace tt {

struct Category {
  std::string name;
  IdTable values;                    // code -> text
  const int64_t* offsets = nullptr;  // [C + 1] into codes
  const int32_t* codes = nullptr;    // [count] row after row; a row has none, one or several
  int64_t rows = 0, count = 0;

  std::span<const int32_t> of(int64_t row) const {
    if (row < 0 || row >= rows) return {};
    const int64_t from = offsets[row], to = offsets[row + 1];
    check<Damaged>(0 <= from && from <= to && to <= count, "bundle", "the offsets of column \"", name,
                   "\" are damaged; make the bundle anew with `twotower pack`");
    return {codes + from, static_cast<size_t>(to - from)};
  }
  bool has(int64_t row, int32_t code) const {
    const auto all = of(row);
    return std::find(all.begin(), all.end(), code) != all.end();
  }
};

}  // namespace tt
