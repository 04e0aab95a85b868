#pragma once
// A table of vectors in 8 or 16 bits a number, as a bundle may hold it. Row r of int8 is scale[r] times whole numbers
// from -127 to 127, with scale[r] the row's largest magnitude / 127: no number is off by more than half of that. fp16
// is IEEE 754's binary16, rounded to nearest, cut off at +-65504.

#include <twotower/tensor/files/safetensors.h>
#include <twotower/tensor/tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tt {

enum class TableType { f32, fp16, int8 };

struct PackedTable {
  DType dtype = DType::F32;
  std::vector<uint8_t> bytes;     // of dtype I8 or F16, [rows, width]
  std::vector<float> scales;      // [rows], int8 alone
  std::unique_ptr<float[]> read;  // [rows, width]: what a reader makes of it
};

// Throws Error for numbers that are not finite; `name` is for its message.
PackedTable pack_table(const std::string& name, Tensor<const float> table, TableType type);

// Back to floats, [rows, width] each; in parallel.
void unpack_int8(const int8_t* numbers, const float* scales, int64_t rows, int64_t width, float* out);
void unpack_fp16(const uint16_t* numbers, int64_t rows, int64_t width, float* out);

}  // namespace tt
