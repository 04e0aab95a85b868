#include <twotower/models/retrieval/index/top_items.h>

namespace tt {

void TopItems::resize(int64_t queries, int64_t top) {
  k = top;
  rows.resize(static_cast<size_t>(queries * top));
  values.resize(rows.size());
  counts.assign(static_cast<size_t>(queries), 0);
}

}  // namespace tt
