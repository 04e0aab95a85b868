#include <twotower/tensor/kernels/elementwise/elementwise_body.h>
#include <twotower/tensor/kernels/simd.h>

namespace tt::kernels::TT_ISA {
namespace {

#define TT_BINARY(NAME, EXPRESSION)                                      \
  void NAME(const float* pa, const float* pb, float* py, int64_t n) {    \
    TT_FOR_VECTORS (i, step, n) {                                        \
      const vf a = load_step(pa + i, step), b = load_step(pb + i, step); \
      store_step(py + i, EXPRESSION, step);                              \
    }                                                                    \
  }
TT_BINARY(add, a + b)
TT_BINARY(mul, a* b)
TT_BINARY(mul_add, fma(a, b, load_step(py + i, step)))
TT_BINARY(relu_backward, select(b > 0.0f, a, vf{}))
TT_BINARY(relu_backward_add, load_step(py + i, step) + select(b > 0.0f, a, vf{}))

void relu(const float* px, float* py, int64_t n) {
  TT_FOR_VECTORS (i, step, n) store_step(py + i, max(vf{}, load_step(px + i, step)), step);
}

void axpy(float* y, float alpha, const float* x, int64_t n) {
  const vf a = broadcast(alpha);
  TT_FOR_VECTORS (i, step, n) store_step(y + i, fma(a, load_step(x + i, step), load_step(y + i, step)), step);
}

void scale(float* y, float alpha, const float* x, int64_t n) {
  const vf a = broadcast(alpha);
  TT_FOR_VECTORS (i, step, n) store_step(y + i, a * load_step(x + i, step), step);
}

// Blocks short enough for float, their sums added in double.
double dot(const float* a, const float* b, int64_t n) {
  double total = 0;
  for (int64_t lo = 0; lo < n; lo += 64 * W) {
    const int64_t count = n - lo < 64 * W ? n - lo : 64 * W;
    vf s[4] = {};
    int64_t i = 0;
    for (; i + 4 * W <= count; i += 4 * W)
      for (int r = 0; r < 4; ++r) s[r] = fma(load(a + lo + i + r * W), load(b + lo + i + r * W), s[r]);
    for (; i < count; i += W) {
      const int64_t step = count - i < W ? count - i : W;
      s[0] = fma(load_step(a + lo + i, step), load_step(b + lo + i, step), s[0]);
    }
    total += static_cast<double>(sum_lanes((s[0] + s[1]) + (s[2] + s[3])));
  }
  return total;
}

double sum(const float* x, int64_t n) {
  double total = 0;
  for (int64_t lo = 0; lo < n; lo += 64 * W) {
    const int64_t count = n - lo < 64 * W ? n - lo : 64 * W;
    vf s[4] = {};
    int64_t i = 0;
    for (; i + 4 * W <= count; i += 4 * W)
      for (int r = 0; r < 4; ++r) s[r] += load(x + lo + i + r * W);
    for (; i < count; i += W) s[0] += load_step(x + lo + i, count - i < W ? count - i : W);
    total += static_cast<double>(sum_lanes((s[0] + s[1]) + (s[2] + s[3])));
  }
  return total;
}

void add_bias(float* y, const float* bias, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r, y += cols)
    TT_FOR_VECTORS (j, step, cols) store_step(y + j, load_step(y + j, step) + load_step(bias + j, step), step);
}

// Four vectors of columns at a time stay in registers down all rows.
void column_sums(float* out, const float* x, int64_t stride, int64_t rows, int64_t cols, bool accumulate) {
  int64_t j = 0;
  for (; j + 4 * W <= cols; j += 4 * W) {
    vf s[4];
    for (int r = 0; r < 4; ++r) s[r] = accumulate ? load(out + j + r * W) : vf{};
    for (int64_t i = 0; i < rows; ++i)
      for (int r = 0; r < 4; ++r) s[r] += load(x + i * stride + j + r * W);
    for (int r = 0; r < 4; ++r) store(out + j + r * W, s[r]);
  }
  for (; j < cols; j += W) {
    const int64_t step = cols - j < W ? cols - j : W;
    vf s = accumulate ? load_step(out + j, step) : vf{};
    for (int64_t i = 0; i < rows; ++i) s += load_step(x + i * stride + j, step);
    store_step(out + j, s, step);
  }
}

}  // namespace

extern const ElementwiseTable elementwise_table = {add,  mul,   mul_add, relu, relu_backward, relu_backward_add,
                                                   axpy, scale, dot,     sum,  add_bias,      column_sums};

}  // namespace tt::kernels::TT_ISA
