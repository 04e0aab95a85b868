#include <twotower/models/bundle/packed_table.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace tt {
namespace {

constexpr int64_t kRows = 1024;  // a chunk
constexpr float kMostHalf = 65504, kLeastNormalHalf = 0x1p-14f;

uint16_t half(float x) {
  const float size = std::min(std::abs(x), kMostHalf);
  const auto sign = static_cast<uint32_t>(std::signbit(x)) << 15;
  if (size < kLeastNormalHalf)  // whole numbers of 2^-24; 1024 of them are the least normal number
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::lrint(size * 0x1p24f)));
  uint32_t bits = std::bit_cast<uint32_t>(size);
  bits += 0xfff + (bits >> 13 & 1);  // to nearest, ties to even
  return static_cast<uint16_t>(sign | ((bits >> 13) - (112u << 10)));
}

// The exponent's bias differs by 112. Small numbers do not go through floats that are not normal: a host may have told
// the processor to take these for 0.
float from_half(uint16_t h) {
  const uint32_t bits = h & 0x7fff;
  const float size = bits < 0x400 ? static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-24f
                                  : std::bit_cast<float>((bits << 13) + (112u << 23));
  return std::bit_cast<float>(std::bit_cast<uint32_t>(size) | static_cast<uint32_t>(h & 0x8000) << 16);
}

}  // namespace

PackedTable pack_table(const std::string& name, Tensor<const float> table, TableType type) {
  const int64_t rows = table.rows(), width = table.cols(), n = rows * width;
  for (int64_t i = 0; i < n; ++i)
    check(std::isfinite(table[i]), "bundle", "\"", name, "\" holds a number that is not finite; train anew");
  PackedTable out;
  out.read.reset(new float[static_cast<size_t>(n)]);
  if (type == TableType::fp16) {
    out.dtype = DType::F16;
    out.bytes.resize(static_cast<size_t>(n) * sizeof(uint16_t));
    auto* to = reinterpret_cast<uint16_t*>(out.bytes.data());
    std::transform(table.begin(), table.end(), to, half);
    unpack_fp16(to, rows, width, out.read.get());
    return out;
  }
  check(type == TableType::int8, "bundle", "a table of floats is not packed");
  out.dtype = DType::I8;
  out.bytes.resize(static_cast<size_t>(n));
  out.scales.resize(static_cast<size_t>(rows));
  auto* to = reinterpret_cast<int8_t*>(out.bytes.data());
  for (int64_t r = 0; r < rows; ++r) {
    float largest = 0;
    for (int64_t j = 0; j < width; ++j) largest = std::max(largest, std::abs(table.row(r)[j]));
    const float scale = out.scales[static_cast<size_t>(r)] = largest / 127;
    for (int64_t j = 0; j < width; ++j) {
      const float steps = scale > 0 ? table.row(r)[j] / scale : 0;
      to[r * width + j] = static_cast<int8_t>(std::clamp(std::lrint(steps), -127l, 127l));
    }
  }
  unpack_int8(to, out.scales.data(), rows, width, out.read.get());
  return out;
}

void unpack_int8(const int8_t* numbers, const float* scales, int64_t rows, int64_t width, float* out) {
  parallel_for(0, rows, kRows, [&](int64_t lo, int64_t hi) {
    for (int64_t r = lo; r < hi; ++r)
      for (int64_t j = r * width; j < (r + 1) * width; ++j) out[j] = scales[r] * static_cast<float>(numbers[j]);
  });
}

void unpack_fp16(const uint16_t* numbers, int64_t rows, int64_t width, float* out) {
  parallel_for(0, rows, kRows, [&](int64_t lo, int64_t hi) {
    std::transform(numbers + lo * width, numbers + hi * width, out + lo * width, from_half);
  });
}

}  // namespace tt
