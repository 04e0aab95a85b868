#include <twotower/models/retrieval/index/top_items.h>

#include <algorithm>

namespace tt {

void TopItems::resize(int64_t queries, int64_t top) {
  k = top;
  rows.resize(static_cast<size_t>(queries * top));
  values.resize(rows.size());
  counts.assign(static_cast<size_t>(queries), 0);
}

double share_found(const TopItems& found, const TopItems& wanted) {
  int64_t hits = 0, all = 0;
  std::vector<int64_t> have;
  for (int64_t q = 0; q < wanted.queries(); ++q) {
    have.assign(found.items(q).begin(), found.items(q).end());
    std::sort(have.begin(), have.end());
    for (const int64_t row : wanted.items(q)) hits += std::binary_search(have.begin(), have.end(), row), ++all;
  }
  return all > 0 ? static_cast<double>(hits) / static_cast<double>(all) : 1.0;
}

}  // namespace tt
