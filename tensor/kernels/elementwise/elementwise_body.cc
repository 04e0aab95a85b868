#include <twotower/tensor/kernels/elementwise/elementwise_body.h>
#include <twotower/tensor/kernels/simd.h>

namespace tt::kernels::TT_ISA {
namespace {

template <class T>
void add_to(T* y, const T* x, int64_t n) {
  TT_FOR_VECTORS (i, step, n) store_step(y + i, load_step(y + i, step) + load_step(x + i, step), step);
}

template <class T>
void relu_backward(T* dx, const T* dy, const T* y, int64_t n) {
  TT_FOR_VECTORS (i, step, n)
    store_step(dx + i, select(load_step(y + i, step) > vec<T>{}, load_step(dy + i, step), vec<T>{}), step);
}

template <class T>
void add_bias(T* y, const T* bias, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r, y += cols)
    TT_FOR_VECTORS (j, step, cols) store_step(y + j, load_step(y + j, step) + load_step(bias + j, step), step);
}

// Four vectors of columns at a time stay in registers down all rows.
template <class T>
void column_sums(T* out, const T* x, int64_t stride, int64_t rows, int64_t cols, bool accumulate) {
  int64_t j = 0;
  for (; j + 4 * W <= cols; j += 4 * W) {
    vec<T> s[4];
    for (int r = 0; r < 4; ++r) s[r] = accumulate ? load(out + j + r * W) : vec<T>{};
    for (int64_t i = 0; i < rows; ++i)
      for (int r = 0; r < 4; ++r) s[r] += load(x + i * stride + j + r * W);
    for (int r = 0; r < 4; ++r) store(out + j + r * W, s[r]);
  }
  for (; j < cols; j += W) {
    const int64_t step = cols - j < W ? cols - j : W;
    vec<T> s = accumulate ? load_step(out + j, step) : vec<T>{};
    for (int64_t i = 0; i < rows; ++i) s += load_step(x + i * stride + j, step);
    store_step(out + j, s, step);
  }
}

}  // namespace

TT_DEFINE_TABLES(ElementwiseTable, elementwise, add_to, relu_backward, add_bias, column_sums)

}  // namespace tt::kernels::TT_ISA
