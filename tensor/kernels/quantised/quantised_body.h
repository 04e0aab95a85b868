#pragma once
#include <twotower/tensor/kernels/dispatch.h>
#include <twotower/tensor/kernels/topk/topk_body.h>

#include <cstddef>
#include <cstdint>

namespace tt::kernels {

constexpr int64_t kQueryTile = 16;  // the most queries of a CoarseQueries, and what Hit::at counts rows in

// Some blocks of rows (quantised.h).
struct CoarseTile {
  const std::byte* blocks;
  const float* scales;
  int64_t count, groups;   // blocks; dimensions (fp16) or fours of them (int8)
  const std::byte* fetch;  // as many bytes, to come into the cache meanwhile; may be null
};

// Up to kQueryTile queries; the arrays have places up to there. A product with a row is
// scale * (unit * (start + sum of integers) +- slack), or of floats with unit 1 and start 0.
struct CoarseQueries {
  const int32_t* words;  // a query's numbers, `stride` words apart
  int64_t stride, n;
  const int32_t* start;
  const float *unit, *slack;
  const float* thresholds;  // NaN where there is no query
};

struct CoarseTable {
  int64_t most;   // queries of a tile at best
  int64_t words;  // of a group in CoarseQueries: 1, its bytes in order (or a float); 2, as 16-bit pairs: even, odd
  // Rows whose upper end reaches the threshold, ascending for each query; score is the product / scale, at is
  // row * kQueryTile + query. Returns how many.
  int64_t (*scan)(const CoarseTile& tile, const CoarseQueries& queries, Hit* hits);
};
TT_KERNEL_TABLE(CoarseTable, int8_table, int8_body)
TT_KERNEL_TABLE(CoarseTable, fp16_table, fp16_body)

#if TT_X86_KERNELS
// With the dot product of bytes that some processors have (VNNI).
namespace avx2 {
extern const CoarseTable int8_vnni_table;
}
namespace avx512 {
extern const CoarseTable int8_vnni_table;
}
#endif
// The table of the active set with VNNI, or null where it or the machine has none.
const CoarseTable* int8_vnni_body();

}  // namespace tt::kernels
