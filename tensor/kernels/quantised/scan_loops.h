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

// What MR queries compare with: a sum reaches its threshold where it is at least limit * scale - slack.
struct Limits {
  float limit[kQueryTile], slack[kQueryTile];
};
TT_INLINE Limits limits_of(const CoarseQueries& q) {
  Limits limits;
  for (int r = 0; r < kQueryTile; ++r) {
    limits.limit[r] = r < q.n ? q.thresholds[r] / q.unit[r] : __builtin_nanf("");
    limits.slack[r] = r < q.n ? q.slack[r] : 0.0f;
  }
  return limits;
}

// MR queries and two vectors of rows: sums in registers, compared where they are.
template <class Format, int MR>
TT_INLINE int64_t scan_vectors(const std::byte* rows, const float* scales, int64_t groups, const CoarseQueries& q,
                               const Limits& limits, int32_t first, Hit* hits) {
  typename Format::Sum sum[MR][2];
  TT_UNROLL for (int r = 0; r < MR; ++r) sum[r][0] = sum[r][1] = Format::begin(q.start[r]);
  const int32_t* words = q.words;
  for (int64_t g = 0; g < groups; ++g, words += kQueryTile * Format::kWords, rows += Format::kGroupBytes) {
    const typename Format::Rows a(rows), b(rows + Format::kBytes);
    TT_UNROLL for (int r = 0; r < MR; ++r) {
      const typename Format::Query x(words + r * Format::kWords);
      sum[r][0] = Format::add(sum[r][0], a, x), sum[r][1] = Format::add(sum[r][1], b, x);
    }
  }
  int64_t count = 0;
  const vf scale[2] = {load(scales), load(scales + W)};
  TT_UNROLL for (int r = 0; r < MR; ++r) {
    const vf limit = broadcast(limits.limit[r]), slack = broadcast(limits.slack[r]);
    const vf x[2] = {Format::value(sum[r][0]), Format::value(sum[r][1])};
    unsigned reach = lanes_ge(x[0], fma(limit, scale[0], -slack)) | lanes_ge(x[1], fma(limit, scale[1], -slack)) << W;
    if (reach == 0) [[likely]]
      continue;
    float sums[2 * W];
    store(sums, x[0]), store(sums + W, x[1]);
    for (; reach != 0; reach &= reach - 1) {
      const int lane = __builtin_ctz(reach);
      hits[count++] = {sums[lane], (first + lane) * static_cast<int32_t>(kQueryTile) + r};
    }
  }
  return count;
}

template <class Format, int MR>
TT_INLINE int64_t scan_blocks(const CoarseTile& tile, const CoarseQueries& q, Hit* hits) {
  int64_t count = 0;
  const Limits limits = limits_of(q);
  const int64_t bytes = tile.groups * Format::kGroupBytes;
  for (int64_t i = 0; i < tile.count; ++i) {
    if (tile.fetch != nullptr) fetch_bytes(tile.fetch + i * bytes, bytes);
    for (int64_t lane = 0; lane < kInBlock; lane += 2 * W)
      count += scan_vectors<Format, MR>(tile.blocks + i * bytes + lane / W * Format::kBytes,
                                        tile.scales + i * kInBlock + lane, tile.groups, q, limits,
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
