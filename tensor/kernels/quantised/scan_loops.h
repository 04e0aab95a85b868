#pragma once
// The scan of interleaved rows, over a Format: how a vector of rows is read, multiplied and added up. For body files.

#include <twotower/tensor/kernels/quantised/quantised_body.h>
#include <twotower/tensor/kernels/simd.h>

namespace tt::kernels::TT_ISA {
namespace {

constexpr int64_t kInBlock = 32;  // kBlockRows

TT_INLINE vi load_words(const void* p) {
  typedef int32_t anywhere __attribute__((vector_size(4 * TT_LANES), aligned(1), may_alias));
  return *static_cast<const anywhere*>(p);
}
TT_INLINE vi broadcast_word(int32_t x) { return x - vi{}; }

TT_INLINE void fetch_bytes(const std::byte* from, int64_t n) {
  for (int64_t i = 0; i < n; i += 64) __builtin_prefetch(from + i);
}

// MR queries and two vectors of rows: products in registers, compared where they are.
template <class Format, int MR>
TT_INLINE int64_t scan_vectors(const std::byte* rows, const float* scales, int64_t groups, const CoarseQueries& q,
                               int32_t first, Hit* hits) {
  typename Format::Sum sum[MR][2];
  TT_UNROLL for (int r = 0; r < MR; ++r) sum[r][0] = sum[r][1] = Format::begin(q.start[r]);
  for (int64_t g = 0; g < groups; ++g) {
    const typename Format::Rows a(rows + g * Format::kGroupBytes), b(rows + g * Format::kGroupBytes + Format::kBytes);
    TT_UNROLL for (int r = 0; r < MR; ++r) {
      const typename Format::Query x(q.words + r * q.stride + g * Format::kWords);
      sum[r][0] = Format::add(sum[r][0], a, x), sum[r][1] = Format::add(sum[r][1], b, x);
    }
  }
  int64_t count = 0;
  const vf scale[2] = {load(scales), load(scales + W)};
  TT_UNROLL for (int r = 0; r < MR; ++r) {
    const vf unit = broadcast(q.unit[r]), slack = broadcast(q.slack[r]), t = broadcast(q.thresholds[r]);
    TT_UNROLL for (int v = 0; v < 2; ++v) {
      const vf product = unit * Format::value(sum[r][v]), upper = (product + slack) * scale[v];
      if (!any_ge(upper, t)) [[likely]]
        continue;
      for (int l = 0; l < W; ++l)
        if (upper[l] >= t[l]) hits[count++] = {product[l], (first + v * W + l) * static_cast<int32_t>(kQueryTile) + r};
    }
  }
  return count;
}

template <class Format, int MR>
TT_INLINE int64_t scan_blocks(const CoarseTile& tile, const CoarseQueries& q, Hit* hits) {
  int64_t count = 0;
  const int64_t bytes = tile.groups * Format::kGroupBytes;
  for (int64_t i = 0; i < tile.count; ++i) {
    if (tile.fetch != nullptr) fetch_bytes(tile.fetch + i * bytes, bytes);
    for (int64_t lane = 0; lane < kInBlock; lane += 2 * W)
      count += scan_vectors<Format, MR>(tile.blocks + i * bytes + lane / W * Format::kBytes,
                                        tile.scales + i * kInBlock + lane, tile.groups, q,
                                        static_cast<int32_t>(i * kInBlock + lane), hits + count);
  }
  return count;
}

#if TT_ISA_LEVEL == 2
constexpr int64_t kMostQueries = 14;
#elif TT_ISA_LEVEL == 1
constexpr int64_t kMostQueries = 6;
#else
constexpr int64_t kMostQueries = 4;
#endif

template <class Format>
int64_t scan_queries(const CoarseTile& tile, const CoarseQueries& q, Hit* hits) {
  if (q.n == 1) return scan_blocks<Format, 1>(tile, q, hits);
  if (q.n <= 4) return scan_blocks<Format, 4>(tile, q, hits);
#if TT_ISA_LEVEL == 2
  if (q.n <= 8) return scan_blocks<Format, 8>(tile, q, hits);
#endif
  return scan_blocks<Format, kMostQueries>(tile, q, hits);
}

}  // namespace
}  // namespace tt::kernels::TT_ISA
