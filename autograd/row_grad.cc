#include "autograd/row_grad.h"

#include <algorithm>
#include <bit>

#include "tensor/parallel.h"

namespace tt {
namespace {

struct Occurrence {
  int64_t id;
  int64_t where;  // position in the concatenation of the parts
};

// Stable least-significant-digit radix sort, 11 bits a pass, only over the bits that ids below `bound` can have.
Occurrence* radix_sort(Occurrence* items, Occurrence* buffer, int64_t n, int64_t bound) {
  constexpr int kBits = 11;
  constexpr int64_t kBuckets = 1 << kBits;
  const int bits = std::bit_width(static_cast<uint64_t>(std::max<int64_t>(bound - 1, 1)));
  for (int shift = 0; shift < bits; shift += kBits) {
    int64_t starts[kBuckets + 1] = {};
    const auto bucket = [&](const Occurrence& o) { return (o.id >> shift) & (kBuckets - 1); };
    for (int64_t i = 0; i < n; ++i) ++starts[bucket(items[i]) + 1];
    for (int64_t b = 0; b < kBuckets; ++b) starts[b + 1] += starts[b];
    for (int64_t i = 0; i < n; ++i) buffer[starts[bucket(items[i])]++] = items[i];
    std::swap(items, buffer);
  }
  return items;
}

}  // namespace

template <class T>
RowGrad<T> sum_rows(const RowGradPart<T>* parts, int64_t table_rows, Arena& arena) {
  int64_t total = 0, d = 0;
  for (auto* p = parts; p; p = p->next) total += p->ids.numel(), d = p->grad.cols();
  if (total == 0) return {};

  const T** source = arena.allocate<const T*>(total);
  auto* items = arena.allocate<Occurrence>(total);
  int64_t n = 0;
  for (auto* p = parts; p; p = p->next) {
    for (int64_t i = 0; i < p->ids.numel(); ++i) {
      if (p->ids[i] < 0) continue;
      source[n] = p->grad.row(i);
      items[n] = {p->ids[i], n};
      ++n;
    }
  }
  items = radix_sort(items, arena.allocate<Occurrence>(total), n, table_rows);

  auto* starts = arena.allocate<int64_t>(n + 1);
  int64_t unique = 0;
  for (int64_t i = 0; i < n; ++i)
    if (i == 0 || items[i].id != items[i - 1].id) starts[unique++] = i;
  starts[unique] = n;

  RowGrad<T> out{make_tensor<int64_t>(arena, {unique}), make_tensor<T>(arena, {unique, d})};
  parallel_for(0, unique, 256, [&](int64_t lo, int64_t hi) {
    for (int64_t r = lo; r < hi; ++r) {
      out.rows[r] = items[starts[r]].id;
      T* sum = out.values.row(r);
      const T* first = source[items[starts[r]].where];
      std::copy(first, first + d, sum);
      for (int64_t i = starts[r] + 1; i < starts[r + 1]; ++i) {
        const T* row = source[items[i].where];
        for (int64_t c = 0; c < d; ++c) sum[c] += row[c];
      }
    }
  });
  return out;
}

template RowGrad<float> sum_rows(const RowGradPart<float>*, int64_t, Arena&);
template RowGrad<double> sum_rows(const RowGradPart<double>*, int64_t, Arena&);

}  // namespace tt
