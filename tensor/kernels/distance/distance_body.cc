#include <twotower/tensor/kernels/distance/distance_body.h>
#include <twotower/tensor/kernels/topk/dots_simd.h>

namespace tt::kernels::TT_ISA {
namespace {

constexpr int64_t kAhead = 8;  // rows that are on their way from memory while others are computed

void dots_at(const float* items, int64_t d, const int32_t* rows, int64_t n, const float* query, float* out) {
  const auto row = [&](int64_t i) __attribute__((always_inline)) { return items + rows[i] * d; };
  for (int64_t i = 0; i < n && i < kAhead; ++i) fetch_lines(row(i), d);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int64_t r = i + kAhead; r < n && r < i + kAhead + 4; ++r) fetch_lines(row(r), d);
    const v4 sums = dots_of_four(row(i), row(i + 1), row(i + 2), row(i + 3), d, query);
    for (int r = 0; r < 4; ++r) out[i + r] = sums[r];
  }
  for (; i < n; ++i) out[i] = dot_of_one(row(i), d, query);
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
