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

// Up to kQueryTile queries; the arrays have places for so many. A row's product with one is
// unit / scale * (start + sum +- slack), where sum is of its numbers times the query's; in floats unit is 1, start 0.
struct CoarseQueries {
  const int32_t* words;  // [groups, kQueryTile, CoarseTable::words]
  const int32_t* start;
  const float *unit, *slack;
  const float* thresholds;  // NaN lets nothing pass
  int64_t n;
};

struct CoarseTable {
  int64_t most;   // queries of a tile at best
  int64_t words;  // of a query and group: 1, its bytes in order, or a float; 2, the bytes as 16-bit pairs, even and odd
  // Rows whose upper end reaches the threshold, ascending for each query; score is start + sum, at is
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
