#include <twotower/tensor/kernels/embedding/embedding.h>
#include <twotower/tensor/kernels/embedding/embedding_body.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <cstring>

namespace tt::kernels {
namespace {

constexpr int kBits = 11;  // 8 KB of counters a pass
constexpr int64_t kBuckets = 1 << kBits;

struct Entry {
  int64_t id;
  int64_t position;
};

}  // namespace

template <class T>
void gather_rows(const T* table, int64_t dim, const int64_t* ids, int64_t n, T* out, int64_t out_stride) {
  const auto f = embedding_body<T>().gather;
  const int64_t grain = std::max<int64_t>(64, 32768 / std::max<int64_t>(dim, 1));
  parallel_for(0, n, grain,
               [=](int64_t lo, int64_t hi) { f(table, dim, ids + lo, hi - lo, out + lo * out_stride, out_stride); });
}

std::size_t row_groups_workspace(int64_t n) {
  // two entry arrays; starts, ids; order
  return static_cast<std::size_t>(n) * (2 * sizeof(Entry) + 2 * sizeof(int64_t) + sizeof(int32_t)) + 64;
}

template <class T>
RowGroups group_rows(const RowPart<T>* parts, int64_t num_parts, void* workspace) {
  int64_t total = 0;
  for (int64_t p = 0; p < num_parts; ++p) total += parts[p].n;
  auto* from = static_cast<Entry*>(workspace);
  Entry* to = from + total;
  auto* starts = reinterpret_cast<int64_t*>(to + total);  // [total + 1]
  int64_t* ids = starts + total + 1;                      // [total]
  auto* order = reinterpret_cast<int32_t*>(ids + total);  // [total]

  int64_t count = 0, position = 0, all = 0;
  for (int64_t p = 0; p < num_parts; ++p)
    for (int64_t i = 0; i < parts[p].n; ++i, ++position) {
      const int64_t id = parts[p].ids[i];
      if (id < 0) continue;
      all |= id;
      from[count++] = {id, position};
    }

  for (int shift = 0; shift < 63 && (all >> shift) != 0; shift += kBits) {
    int32_t at[kBuckets];
    std::memset(at, 0, sizeof at);
    for (int64_t i = 0; i < count; ++i) ++at[(from[i].id >> shift) & (kBuckets - 1)];
    int32_t sum = 0;
    for (int32_t& x : at) {
      const int32_t n = x;
      x = sum;
      sum += n;
    }
    for (int64_t i = 0; i < count; ++i) to[at[(from[i].id >> shift) & (kBuckets - 1)]++] = from[i];
    std::swap(from, to);
  }

  RowGroups g;
  for (int64_t i = 0; i < count; ++i) {
    if (i == 0 || from[i].id != from[i - 1].id) {
      ids[g.groups] = from[i].id;
      starts[g.groups++] = i;
    }
    order[i] = static_cast<int32_t>(from[i].position);
  }
  starts[g.groups] = count;
  g.ids = ids, g.starts = starts, g.order = order;
  return g;
}

template <class T>
void sum_row_groups(const RowPart<T>* parts, int64_t num_parts, const RowGroups& groups, int64_t dim, T* values) {
  if (groups.groups == 0 || dim <= 0) return;
  const auto f = embedding_body<T>().sum_groups;
  const int64_t mean = groups.starts[groups.groups] / groups.groups + 1;
  const int64_t grain = std::max<int64_t>(16, 32768 / (dim * mean));
  parallel_for(0, groups.groups, grain,
               [&](int64_t lo, int64_t hi) { f(parts, num_parts, groups, lo, hi, dim, values); });
}

#define TT_INSTANTIATE(T)                                                             \
  template void gather_rows(const T*, int64_t, const int64_t*, int64_t, T*, int64_t); \
  template RowGroups group_rows(const RowPart<T>*, int64_t, void*);                   \
  template void sum_row_groups(const RowPart<T>*, int64_t, const RowGroups&, int64_t, T*);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt::kernels
