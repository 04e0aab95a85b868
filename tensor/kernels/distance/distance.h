#pragma once
// Vectors that lie anywhere: what a walk through a graph of neighbours asks.

#include <cstdint>

namespace tt::kernels {

// out[i] = items[rows[i], :] . query, for rows in [0, C). items: [C, D]. A row's sum does not depend on which others
// are asked.
void dots_at(const float* items, int64_t d, const int32_t* rows, int64_t n, const float* query, float* out);

// The sum of (a[i] - b[i])^2 for i < d.
float squared_distance(const float* a, const float* b, int64_t d);

}  // namespace tt::kernels
