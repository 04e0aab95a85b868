#pragma once
// Exact top K through a scan of rows held in fewer bits. Of a row r, scale[r] times its numbers is kept, rounded: to
// 8-bit integers up to 127, or to 16-bit floats up to 2. With the row's error and the query's own, the true product
// lies within a radius of the coarse one (Cauchy and Schwarz, and what rounding adds); rows whose upper end reaches the
// K-th best lower end are scored again in float, as mips_topk does it, so the answers are its answers, bit for bit.

#include <twotower/tensor/kernels/topk/row_filter.h>

#include <cstddef>
#include <cstdint>

namespace tt::kernels {

enum class RowFormat { int8, fp16 };

constexpr int64_t kBlockRows = 32;  // rows that lie interleaved: 4 bytes of each (int8), or a number of each (fp16)

inline int64_t blocks_of(int64_t rows) { return (rows + kBlockRows - 1) / kBlockRows; }
inline std::size_t block_bytes(RowFormat format, int64_t d) {
  return static_cast<std::size_t>(kBlockRows * (format == RowFormat::int8 ? (d + 3) / 4 * 4 : 2 * d));
}

// What holds for all rows whose scale is not NaN.
struct RowBounds {
  float error = 0;  // most length of row * scale - what is kept
  float norm = 0;   // most length of what is kept
  float unit = 0;   // most 1 / scale
};

struct QuantisedRows {
  RowFormat format = RowFormat::int8;
  int64_t rows = 0, d = 0;
  const std::byte* blocks = nullptr;  // [blocks_of(rows), block_bytes(format, d)]
  const float* scales = nullptr;      // [blocks_of(rows) * kBlockRows]; NaN: not kept (and behind the last row)
  RowBounds bounds;
  const int64_t* exceptions = nullptr;  // the rows that are not kept, ascending: each is scored in float
  int64_t exception_count = 0;
};

// Fills blocks and scales of items [rows, d]. Rows that are not finite or longer than 1e35 are not kept.
RowBounds quantise_rows(const float* items, int64_t rows, int64_t d, RowFormat format, std::byte* blocks,
                        float* scales);

// As mips_topk (topk.h) of `items`, which `coarse` was made of.
void quantised_topk(const float* queries, int64_t q, const float* items, const QuantisedRows& coarse, int64_t k,
                    int64_t* rows, float* scores, int64_t* counts, const RowsToSearch& filter = {});

}  // namespace tt::kernels
