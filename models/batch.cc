#include <twotower/models/batch.h>
#include <twotower/tensor/kernels/embedding/embedding.h>

#include <algorithm>

namespace tt {
namespace {

kernels::RowGroups grouped(const int64_t* ids, int64_t n, Arena& arena) {
  const auto words = static_cast<int64_t>(kernels::row_groups_workspace(n) / sizeof(int64_t)) + 1;
  kernels::RowPart part;
  part.ids = ids, part.n = n;
  return kernels::group_rows(&part, 1, arena.allocate<int64_t>(words));
}

}  // namespace

template <class T>
Tensor<const uint8_t> acted_on(Tensor<const T> labels, Arena& arena) {
  const Tensor<uint8_t> acted = make_tensor<uint8_t>(arena, {labels.rows()});
  for (int64_t i = 0; i < labels.rows(); ++i)
    acted[i] = std::any_of(labels.row(i), labels.row(i) + labels.cols(), [](T label) { return label > 0; });
  return acted;
}

template Tensor<const uint8_t> acted_on(Tensor<const float>, Arena&);
template Tensor<const uint8_t> acted_on(Tensor<const double>, Arena&);

Exclusions accidental_hits(Tensor<const int64_t> user_ids, Tensor<const int64_t> item_ids, Tensor<const uint8_t> acted,
                           Tensor<const int64_t> further_ids, Arena& arena) {
  const int64_t b = user_ids.numel(), m = b + further_ids.numel();
  check(item_ids.numel() == b && (acted.numel() == 0 || acted.numel() == b), "accidental_hits", item_ids.numel(),
        " items and ", acted.numel(), " flags for ", b, " users");
  int64_t* columns = arena.allocate<int64_t>(m);  // the item of each column, counted from 1: -1 is an item, too
  for (int64_t j = 0; j < m; ++j) columns[j] = 1 + (j < b ? item_ids[j] : further_ids[j - b]);
  const kernels::RowGroups users = grouped(user_ids.data(), b, arena), items = grouped(columns, m, arena);
  auto* item_of = arena.allocate<int32_t>(m);  // column -> group of its item
  for (int64_t g = 0; g < items.groups; ++g)
    for (int64_t e = items.starts[g]; e < items.starts[g + 1]; ++e) item_of[items.order[e]] = static_cast<int32_t>(g);
  const auto size_of = [&](int32_t item) { return items.starts[item + 1] - items.starts[item]; };

  // Row i leaves out the columns of what its user acted on, distinct[first[i]] .. distinct[last[i]], and of its own
  // item, own[i] where that is not among them (-1 where it is), except itself.
  auto *distinct = arena.allocate<int32_t>(b), *first = arena.allocate<int32_t>(b), *last = arena.allocate<int32_t>(b),
       *own = arena.allocate<int32_t>(b);
  auto* hits = arena.allocate<int64_t>(b);
  auto* met_by = arena.allocate<int64_t>(items.groups);  // the last user who was seen to have acted on it
  std::fill_n(met_by, items.groups, -1);
  int32_t used = 0;
  for (int64_t u = 0; u < users.groups; ++u) {
    const int32_t *row = users.order + users.starts[u], *end = users.order + users.starts[u + 1], from = used;
    int64_t count = 0;
    for (const int32_t* r = row; r < end; ++r) {
      const int32_t item = item_of[*r];
      if (met_by[item] == u || (acted.numel() > 0 && acted[*r] == 0)) continue;
      met_by[item] = u;
      distinct[used++] = item;
      count += size_of(item);
    }
    for (; row < end; ++row) {
      const int32_t item = item_of[*row];
      first[*row] = from, last[*row] = used;
      own[*row] = met_by[item] == u ? -1 : item;
      hits[*row] = count + (own[*row] < 0 ? 0 : size_of(item));
    }
  }
  for (int64_t i = 0; i < b; ++i)  // unknown users are in no group: they share nothing but the id -1
    if (user_ids[i] < 0) first[i] = last[i] = 0, own[i] = item_of[i], hits[i] = size_of(item_of[i]);

  const Tensor<int64_t> offsets = make_tensor<int64_t>(arena, {b + 1});
  offsets[0] = 0;
  for (int64_t i = 0; i < b; ++i) offsets[i + 1] = offsets[i] + hits[i] - 1;
  const Tensor<int32_t> excluded = make_tensor<int32_t>(arena, {offsets[b]});
  int32_t* to = excluded.data();
  for (int64_t i = 0; i < b; ++i) {
    const auto leave_out = [&](int32_t item) {
      for (int64_t e = items.starts[item]; e < items.starts[item + 1]; ++e)
        if (items.order[e] != i) *to++ = items.order[e];
    };
    for (int32_t x = first[i]; x < last[i]; ++x) leave_out(distinct[x]);
    if (own[i] >= 0) leave_out(own[i]);
  }
  return {offsets, excluded};
}

}  // namespace tt
