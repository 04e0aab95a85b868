#include <twotower/tensor/kernels/quantised/quantised.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <mutex>

namespace tt::kernels {
namespace {

constexpr float kLongest = 1e35f;
constexpr float kLeast = 127 * std::numeric_limits<float>::min();  // of smaller numbers the scale would overflow

uint16_t to_half(float x) {  // |x| <= 2; to nearest, ties to even
  const auto sign = static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16 & 0x8000);
  const float size = std::fabs(x);
  if (size < 0x1p-14f) return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::lrint(size * 0x1p24f)));
  uint32_t bits = std::bit_cast<uint32_t>(size);
  bits += 0xfff + (bits >> 13 & 1);
  return static_cast<uint16_t>(sign | (bits - (112u << 23)) >> 13);
}

float from_half(uint16_t half) {
  const float size = std::bit_cast<float>((half & 0x7fffu) << 13) * 0x1p112f;
  return half & 0x8000 ? -size : size;
}

// Where number j of row r lies in its block.
int64_t place(RowFormat format, int64_t r, int64_t j) {
  return format == RowFormat::int8 ? (j / 4 * kBlockRows + r) * 4 + j % 4 : (j * kBlockRows + r) * 2;
}

float scale_of(RowFormat format, float largest) {
  largest = std::max(largest, kLeast);
  return format == RowFormat::int8 ? 127 / largest : std::ldexp(1.0f, -std::ilogb(largest));
}

// Keeps a row of which all is finite; the lengths of its error and of what is kept.
void keep(const float* x, int64_t d, RowFormat format, float scale, int64_t r, std::byte* block, double& error,
          double& norm) {
  double errors = 0, squares = 0;
  for (int64_t j = 0; j < d; ++j) {
    const double exact = static_cast<double>(x[j]) * static_cast<double>(scale);
    double kept;
    std::byte* to = block + place(format, r, j);
    if (format == RowFormat::int8) {
      const long number = std::clamp(std::lrint(exact), -127l, 127l);
      *to = static_cast<std::byte>(number + 128), kept = static_cast<double>(number);
    } else {
      const uint16_t half = to_half(static_cast<float>(exact));
      std::copy_n(reinterpret_cast<const std::byte*>(&half), 2, to), kept = from_half(half);
    }
    errors += (exact - kept) * (exact - kept), squares += kept * kept;
  }
  error = std::sqrt(errors), norm = std::sqrt(squares);
}

}  // namespace

RowBounds quantise_rows(const float* items, int64_t rows, int64_t d, RowFormat format, std::byte* blocks,
                        float* scales) {
  RowBounds all;
  std::mutex mutex;
  const std::size_t bytes = block_bytes(format, d);
  parallel_for(0, blocks_of(rows), 64, [&](int64_t lo, int64_t hi) {
    RowBounds bounds;
    for (int64_t b = lo; b < hi; ++b) {
      std::byte* block = blocks + static_cast<std::size_t>(b) * bytes;
      std::fill_n(block, bytes, std::byte{0});
      for (int64_t r = 0; r < kBlockRows; ++r) {
        const int64_t row = b * kBlockRows + r;
        scales[row] = std::numeric_limits<float>::quiet_NaN();
        if (row >= rows) continue;
        const float* x = items + row * d;
        float largest = 0;
        double squares = 0;
        for (int64_t j = 0; j < d; ++j)
          largest = std::max(largest, std::fabs(x[j])), squares += static_cast<double>(x[j]) * x[j];
        if (!(std::sqrt(squares) <= static_cast<double>(kLongest))) continue;  // nor what is not a number
        double error, norm;
        scales[row] = scale_of(format, largest);
        keep(x, d, format, scales[row], r, block, error, norm);
        // A little more than computed, against rounding.
        bounds.error = std::max(bounds.error, static_cast<float>(error * (1 + 1e-6)));
        bounds.norm = std::max(bounds.norm, static_cast<float>(norm * (1 + 1e-6)));
        bounds.unit = std::max(bounds.unit, static_cast<float>((1 + 1e-6) / static_cast<double>(scales[row])));
      }
    }
    const std::lock_guard lock(mutex);
    all.error = std::max(all.error, bounds.error), all.norm = std::max(all.norm, bounds.norm);
    all.unit = std::max(all.unit, bounds.unit);
  });
  return all;
}

}  // namespace tt::kernels
