#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

struct DistanceTable {
  void (*dots_at)(const float* items, int64_t d, const int32_t* rows, int64_t n, const float* query, float* out);
  float (*squared_distance)(const float* a, const float* b, int64_t d);
};
TT_KERNEL_TABLE(DistanceTable, distance_table, distance_body)

}  // namespace tt::kernels
