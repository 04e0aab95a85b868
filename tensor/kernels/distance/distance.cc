#include <twotower/tensor/kernels/distance/distance.h>
#include <twotower/tensor/kernels/distance/distance_body.h>

namespace tt::kernels {

void dots_at(const float* items, int64_t d, const int32_t* rows, int64_t n, const float* query, float* out) {
  distance_body().dots_at(items, d, rows, n, query, out);
}

float squared_distance(const float* a, const float* b, int64_t d) { return distance_body().squared_distance(a, b, d); }

}  // namespace tt::kernels
