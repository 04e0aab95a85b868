#include <twotower/tensor/kernels/simd.h>
#include <twotower/tensor/kernels/topk/topk_body.h>

namespace tt::kernels::TT_ISA {
namespace {

TT_INLINE v4 halved(vf x) {
  TT_HALVE_TO_4(x, TT_PLUS)
  return y;
}

// Four rows at a time; their four sums across lanes share the last steps.
void dots(const float* items, int64_t n, int64_t d, const float* query, float* out) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const float *r0 = items + i * d, *r1 = r0 + d, *r2 = r1 + d, *r3 = r2 + d;
    vf s0 = {}, s1 = {}, s2 = {}, s3 = {};
    TT_FOR_VECTORS (j, step, d) {
      const vf q = load_step(query + j, step);
      s0 = fma(load_step(r0 + j, step), q, s0);
      s1 = fma(load_step(r1 + j, step), q, s1);
      s2 = fma(load_step(r2 + j, step), q, s2);
      s3 = fma(load_step(r3 + j, step), q, s3);
    }
    const v4 y0 = halved(s0), y1 = halved(s1), y2 = halved(s2), y3 = halved(s3);
    const v4 a = __builtin_shufflevector(y0, y1, 0, 4, 2, 6) + __builtin_shufflevector(y0, y1, 1, 5, 3, 7);
    const v4 b = __builtin_shufflevector(y2, y3, 0, 4, 2, 6) + __builtin_shufflevector(y2, y3, 1, 5, 3, 7);
    const v4 sums = __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
    for (int r = 0; r < 4; ++r) out[i + r] = sums[r];
  }
  for (; i < n; ++i) {
    vf s = {};
    TT_FOR_VECTORS (j, step, d) s = fma(load_step(items + i * d + j, step), load_step(query + j, step), s);
    const v4 y = halved(s);
    out[i] = (y[0] + y[1]) + (y[2] + y[3]);  // the order of the four-row form
  }
}

int64_t filter(const float* x, int64_t n, float threshold, int32_t* hits) {
  int64_t count = 0, i = 0;
  const vf t = broadcast(threshold);
  for (; i + 2 * W <= n; i += 2 * W) {
    if (!any_ge(load(x + i), t) && !any_ge(load(x + i + W), t)) continue;
    for (int64_t j = i; j < i + 2 * W; ++j)
      if (x[j] >= threshold) hits[count++] = static_cast<int32_t>(j);
  }
  for (; i < n; ++i)
    if (x[i] >= threshold) hits[count++] = static_cast<int32_t>(i);
  return count;
}

int64_t filter_tile(const float* tile, int64_t rows, int64_t width, const float* thresholds, int32_t* hits) {
  int64_t count = 0;
  for (int64_t j = 0; j < width; j += W) {
    const vf t = load(thresholds + j);
    for (int64_t i = 0; i < rows; ++i) {
      const float* x = tile + i * width + j;
      if (!any_ge(load(x), t)) continue;
      for (int64_t l = 0; l < W; ++l)
        if (x[l] >= thresholds[j + l]) hits[count++] = static_cast<int32_t>(i * width + j + l);
    }
  }
  return count;
}

}  // namespace

extern const TopkTable topk_table = {dots, filter, filter_tile};

}  // namespace tt::kernels::TT_ISA
