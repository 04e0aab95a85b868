#include <twotower/tensor/kernels/distance/distance_body.h>
#include <twotower/tensor/kernels/simd.h>

namespace tt::kernels::TT_ISA {
namespace {

constexpr int64_t kAhead = 8;  // rows that are on their way from memory while others are computed

TT_INLINE void fetch(const float* row, int64_t d) {
  for (int64_t i = 0; i < d; i += 16) __builtin_prefetch(row + i);
}

// Four rows at a time: four sums that do not wait for each other.
void dots_at(const float* items, int64_t d, const int32_t* rows, int64_t n, const float* query, float* out) {
  const auto row = [&](int64_t i) __attribute__((always_inline)) { return items + rows[i] * d; };
  for (int64_t i = 0; i < n && i < kAhead; ++i) fetch(row(i), d);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int64_t r = i + kAhead; r < n && r < i + kAhead + 4; ++r) fetch(row(r), d);
    const float *r0 = row(i), *r1 = row(i + 1), *r2 = row(i + 2), *r3 = row(i + 3);
    vf s0 = {}, s1 = {}, s2 = {}, s3 = {};
    TT_FOR_VECTORS (j, step, d) {
      const vf q = load_step(query + j, step);
      s0 = fma(load_step(r0 + j, step), q, s0);
      s1 = fma(load_step(r1 + j, step), q, s1);
      s2 = fma(load_step(r2 + j, step), q, s2);
      s3 = fma(load_step(r3 + j, step), q, s3);
    }
    out[i] = sum_lanes(s0), out[i + 1] = sum_lanes(s1), out[i + 2] = sum_lanes(s2), out[i + 3] = sum_lanes(s3);
  }
  for (; i < n; ++i) {
    vf s = {};
    TT_FOR_VECTORS (j, step, d) s = fma(load_step(row(i) + j, step), load_step(query + j, step), s);
    out[i] = sum_lanes(s);
  }
}

float squared_distance(const float* a, const float* b, int64_t d) {
  vf s0 = {}, s1 = {};
  int64_t i = 0;
  for (; i + 2 * W <= d; i += 2 * W) {
    const vf x = load(a + i) - load(b + i), y = load(a + i + W) - load(b + i + W);
    s0 = fma(x, x, s0), s1 = fma(y, y, s1);
  }
  for (; i < d; i += W) {
    const int64_t step = d - i < W ? d - i : W;
    const vf x = load_step(a + i, step) - load_step(b + i, step);
    s0 = fma(x, x, s0);
  }
  return sum_lanes(s0 + s1);
}

}  // namespace

extern const DistanceTable distance_table = {dots_at, squared_distance};

}  // namespace tt::kernels::TT_ISA
