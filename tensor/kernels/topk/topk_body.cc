#include <twotower/tensor/kernels/topk/dots_simd.h>
#include <twotower/tensor/kernels/topk/topk_body.h>

namespace tt::kernels::TT_ISA {
namespace {

template <int N>
struct Rows {
  static constexpr int value = N;
};

constexpr int64_t kFetch = 2048;  // numbers ahead: 8 KB

void dots(const float* items, int64_t n, int64_t d, const float* query, float* out) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const float* row = items + i * d;
    fetch_lines(row + kFetch, 4 * d);  // the processor's own prefetching stops at every page of 4 KB
    const v4 sums = dots_of_four(row, row + d, row + 2 * d, row + 3 * d, d, query);
    for (int r = 0; r < 4; ++r) out[i + r] = sums[r];
  }
  for (; i < n; ++i) out[i] = dot_of_one(items + i * d, d, query);
}

int64_t filter(const float* x, int64_t n, float threshold, int32_t* hits) {
  int64_t count = 0, i = 0;
  const vf t = broadcast(threshold);
  for (; i + 2 * W <= n; i += 2 * W) {
    if (!any_ge(load(x + i), t) && !any_ge(load(x + i + W), t)) continue;
    for (int64_t j = i; j < i + 2 * W; ++j)
      if (x[j] >= threshold) hits[count++] = static_cast<int32_t>(j);
  }
  for (; i < n; ++i)
    if (x[i] >= threshold) hits[count++] = static_cast<int32_t>(i);
  return count;
}

// MR rows x NV vectors of queries: products in registers, compared with the thresholds where they are.
template <int MR, int NV>
TT_INLINE int64_t scan_rows(const float* items, int64_t d, const float* packed, const float* thresholds, int32_t first,
                            Hit* hits) {
  vf acc[MR][NV] = {};
  for (int64_t p = 0; p < d; ++p) {
    vf b[NV];
    TT_UNROLL for (int v = 0; v < NV; ++v) b[v] = load(packed + p * kNr + v * W);
    TT_UNROLL for (int r = 0; r < MR; ++r) {
      const vf a = broadcast(items[r * d + p]);
      TT_UNROLL for (int v = 0; v < NV; ++v) acc[r][v] = fma(a, b[v], acc[r][v]);
    }
  }
  int64_t count = 0;
  TT_UNROLL for (int v = 0; v < NV; ++v) {
    const vf t = load(thresholds + v * W);
    vf most = broadcast(-__builtin_inff());  // max() is its second argument where either is NaN
    TT_UNROLL for (int r = 0; r < MR; ++r) most = max(acc[r][v], most);
    if (!any_ge(most, t)) [[likely]]
      continue;
    TT_UNROLL for (int r = 0; r < MR; ++r) {
      if (!any_ge(acc[r][v], t)) continue;
      for (int l = 0; l < W; ++l)
        if (acc[r][v][l] >= t[l]) hits[count++] = {acc[r][v][l], (first + r) * kNr + v * W + l};
    }
  }
  return count;
}

template <int NV>
TT_INLINE int64_t scan_vectors(const float* items, int64_t n, int64_t d, const float* packed, const float* thresholds,
                               Hit* hits, const float* fetch) {
  int64_t count = 0, i = 0;
  const auto rows = [&](auto mr) __attribute__((always_inline)) {
    constexpr int MR = decltype(mr)::value;
    for (; i + MR <= n; i += MR) {
      if (fetch != nullptr) fetch_lines(fetch + i * d, MR * d);
      count += scan_rows<MR, NV>(items + i * d, d, packed, thresholds, static_cast<int32_t>(i), hits + count);
    }
  };
  rows(Rows<kMr>());
  rows(Rows<4>());
  rows(Rows<1>());
  return count;
}

int64_t scan(const float* items, int64_t n, int64_t d, const float* packed, int64_t queries, const float* thresholds,
             Hit* hits, const float* fetch) {
  return queries > W ? scan_vectors<2>(items, n, d, packed, thresholds, hits, fetch)
                     : scan_vectors<1>(items, n, d, packed, thresholds, hits, fetch);
}

}  // namespace

extern const TopkTable topk_table = {kNr, dots, filter, scan};

}  // namespace tt::kernels::TT_ISA
