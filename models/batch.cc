#include "models/batch.h"

#include <algorithm>

namespace tt {
namespace {

struct Entry {
  int64_t key;
  int32_t index;
  bool operator<(const Entry& o) const { return key != o.key ? key < o.key : index < o.index; }
};

// (key, index) pairs sorted by key.
Entry* sorted_entries(const int64_t* keys, int64_t n, Arena& arena) {
  Entry* entries = arena.allocate<Entry>(n);
  for (int64_t i = 0; i < n; ++i) entries[i] = {keys[i], static_cast<int32_t>(i)};
  std::sort(entries, entries + n);
  return entries;
}

// Calls f(index) for all entries with this key.
template <class F>
void for_key(const Entry* entries, int64_t n, int64_t key, F f) {
  for (const Entry* e = std::lower_bound(entries, entries + n, Entry{key, -1}); e != entries + n && e->key == key; ++e)
    f(e->index);
}

}  // namespace

Exclusions accidental_hits(Tensor<const int64_t> user_ids, Tensor<const int64_t> item_ids,
                           Tensor<const int64_t> further_ids, Arena& arena) {
  const int64_t b = user_ids.numel(), m = b + further_ids.numel();
  int64_t* columns = arena.allocate<int64_t>(m);  // the item of each column
  std::copy_n(item_ids.data(), b, columns);
  std::copy_n(further_ids.data(), further_ids.numel(), columns + b);
  const Entry* by_user = sorted_entries(user_ids.data(), b, arena);
  const Entry* by_item = sorted_entries(columns, m, arena);

  // Row i leaves out each column whose item some row of the same user holds. Walked twice: to count, then to fill.
  // An item that the user has twice would be met twice: only its first row of that user counts.
  const auto walk = [&](int64_t i, auto&& hit) {
    const auto visit = [&](int32_t row) {
      bool seen = false;
      for_key(by_user, b, user_ids[i], [&](int32_t earlier) {
        seen |= user_ids[i] >= 0 && earlier < row && item_ids[earlier] == item_ids[row];
      });
      if (seen) return;
      for_key(by_item, m, item_ids[row], [&](int32_t column) {
        if (column != i) hit(column);
      });
    };
    if (user_ids[i] < 0) visit(static_cast<int32_t>(i));  // unknown users share nothing but the id -1
    else for_key(by_user, b, user_ids[i], visit);
  };
  const Tensor<int64_t> offsets = make_tensor<int64_t>(arena, {b + 1});
  offsets[0] = 0;
  for (int64_t i = 0; i < b; ++i) {
    offsets[i + 1] = offsets[i];
    walk(i, [&](int32_t) { ++offsets[i + 1]; });
  }
  const Tensor<int32_t> excluded = make_tensor<int32_t>(arena, {offsets[b]});
  for (int64_t i = 0; i < b; ++i) {
    int64_t at = offsets[i];
    walk(i, [&](int32_t column) { excluded[at++] = column; });
  }
  return {offsets, excluded};
}

}  // namespace tt
