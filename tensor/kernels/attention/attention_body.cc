#include "tensor/kernels/attention/attention_body.h"

#include "tensor/kernels/gemm/gemm_simd.h"
#include "tensor/kernels/vmath/vmath_simd.h"

namespace tt::kernels::TT_ISA {
namespace {

constexpr int64_t kPanel = kAttentionLanes;

TT_INLINE int64_t round_up(int64_t n) { return (n + W - 1) / W * W; }
TT_INLINE float inverse_sqrt(int64_t n) { return 1.0f / __builtin_sqrtf(static_cast<float>(n)); }

// Operand [rows, count] (rows `stride` apart) -> [count, width], zeros from `rows` up to a whole vector.
TT_INLINE void transpose_padded(const float* from, int64_t stride, int64_t rows, int64_t count, float* to,
                                int64_t width) {
  transpose(from, stride, rows, count, to, width);
  const int64_t used = round_up(rows);
  if (used == rows) return;
  for (int64_t p = 0; p < count; ++p)
    for (int64_t j = rows; j < used; ++j) to[p * width + j] = 0;
}

// C[m, n] (+)= A[m, k] B[k, n], A by rows.
TT_INLINE void product(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
                       float* c, int64_t ldc, bool add = false) {
  GemmBlock g;
  g.m = m, g.n = n, g.k = k;
  g.a = a, g.row_a = lda, g.b = b, g.row_b = ldb, g.strip_b = kNr;
  g.c = c, g.ldc = ldc, g.beta = add ? 1 : 0;
  gemm_block(g);
}

// C[m, n] = A^T B, A [k, m] by rows.
TT_INLINE void product_transposed(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                                  int64_t ldb, float* c, int64_t ldc) {
  GemmBlock g;
  g.m = m, g.n = n, g.k = k;
  g.a = a, g.row_a = 1, g.col_a = lda, g.b = b, g.row_b = ldb, g.strip_b = kNr;
  g.c = c, g.ldc = ldc;
  gemm_block(g);
}

// Down each of `width` lanes of s [keys, ld]: e^((s - max) * scale), and the inverse of its sum.
TT_INLINE void exponentials(float* s, int64_t keys, int64_t width, int64_t ld, float scale, float* inverse) {
  for (int64_t j = 0; j < width; j += W) {
    vf m = load(s + j), m2 = m;
    int64_t i = 1;
    for (; i + 2 <= keys; i += 2) {
      m = max(load(s + i * ld + j), m);
      m2 = max(load(s + (i + 1) * ld + j), m2);
    }
    if (i < keys) m = max(load(s + i * ld + j), m);
    m = max(m, m2);
    vf total = {};
    for (i = 0; i < keys; ++i) {
      const vf e = exp((load(s + i * ld + j) - m) * scale);
      store(s + i * ld + j, e);
      total += e;
    }
    store(inverse + j, 1.0f / total);
  }
}

// p: exponentials -> probabilities; dp -> ds = p * (dp - sum p dp) * scale.
TT_INLINE void softmax_backward(float* p, float* dp, int64_t keys, int64_t width, int64_t ld, const float* inverse,
                                float scale) {
  for (int64_t j = 0; j < width; j += W) {
    const vf inv = load(inverse + j);
    vf delta = {};
    for (int64_t i = 0; i < keys; ++i) {
      const vf q = load(p + i * ld + j) * inv;
      store(p + i * ld + j, q);
      delta = fma(q, load(dp + i * ld + j), delta);
    }
    for (int64_t i = 0; i < keys; ++i)
      store(dp + i * ld + j, load(p + i * ld + j) * (load(dp + i * ld + j) - delta) * scale);
  }
}

void forward(const float* qkv, int64_t length, int64_t dim, int64_t heads, float* out, float* work) {
  const int64_t d = dim / heads, ld = 3 * dim;
  float *queries = work, *scores = work + d * kPanel;
  alignas(64) float inverse[kPanel];
  for (int64_t h = 0; h < heads; ++h) {
    const float *q = qkv + h * d, *k = q + dim, *v = k + dim;
    for (int64_t first = 0; first < length; first += kPanel) {
      const int64_t n = length - first < kPanel ? length - first : kPanel, width = round_up(n);
      transpose_padded(q + first * ld, ld, n, d, queries, kPanel);
      product(length, width, d, k, ld, queries, kPanel, scores, kPanel);
      exponentials(scores, length, width, kPanel, inverse_sqrt(d), inverse);
      float* to = out + first * dim + h * d;
      product_transposed(n, d, length, scores, kPanel, v, ld, to, dim);
      for (int64_t i = 0; i < n; ++i)
        TT_FOR_VECTORS(c, step, d) store_step(to + i * dim + c, load_step(to + i * dim + c, step) * inverse[i], step);
    }
  }
}

void backward(const float* qkv, int64_t length, int64_t dim, int64_t heads, const float* dout, float* dqkv,
              float* work) {
  const int64_t d = dim / heads, ld = 3 * dim;
  float *queries = work, *douts = queries + d * kPanel;
  float *p = douts + d * kPanel, *ds = p + length * kPanel;
  alignas(64) float inverse[kPanel];
  for (int64_t h = 0; h < heads; ++h) {
    const float *q = qkv + h * d, *k = q + dim, *v = k + dim, *o = dout + h * d;
    float *dq = dqkv + h * d, *dk = dq + dim, *dv = dk + dim;
    for (int64_t first = 0; first < length; first += kPanel) {
      const int64_t n = length - first < kPanel ? length - first : kPanel, width = round_up(n);
      transpose_padded(q + first * ld, ld, n, d, queries, kPanel);
      transpose_padded(o + first * dim, dim, n, d, douts, kPanel);
      product(length, width, d, k, ld, queries, kPanel, p, kPanel);
      product(length, width, d, v, ld, douts, kPanel, ds, kPanel);
      exponentials(p, length, width, kPanel, inverse_sqrt(d), inverse);
      softmax_backward(p, ds, length, width, kPanel, inverse, inverse_sqrt(d));
      product_transposed(n, d, length, ds, kPanel, k, ld, dq + first * ld, ld);
      product(length, d, n, ds, kPanel, q + first * ld, ld, dk, ld, first > 0);
      product(length, d, n, p, kPanel, o + first * dim, dim, dv, ld, first > 0);
    }
  }
}

void zero(float* x, int64_t n) {
  TT_FOR_VECTORS(i, step, n) store_step(x + i, vf{}, step);
}

// Scores [length, width]: here the heads' single queries lie in the lanes.
void last_forward(const float* qk, const float* x, int64_t length, int64_t dim, int64_t heads, float* pooled,
                  float* work) {
  if (length == 0) return zero(pooled, heads * dim);
  const int64_t width = round_up(heads);
  float *queries = work, *p = work + width * dim;
  transpose_padded(qk, dim, heads, dim, queries, width);
  product(length, width, dim, x, dim, queries, width, p, width);
  for (int64_t j = 0; j < width; j += W) {
    alignas(64) float inverse[W];
    exponentials(p + j, length, W, width, inverse_sqrt(dim / heads), inverse);
    for (int64_t i = 0; i < length; ++i) store(p + i * width + j, load(p + i * width + j) * load(inverse));
  }
  product_transposed(heads, dim, length, p, width, x, dim, pooled, dim);
}

void last_backward(const float* qk, const float* x, int64_t length, int64_t dim, int64_t heads, const float* dpooled,
                   float* dqk, float* dx, bool accumulate_dx, float* work) {
  if (length == 0) return zero(dqk, heads * dim);
  const int64_t width = round_up(heads);
  const float scale = inverse_sqrt(dim / heads);
  float *queries = work, *dps = queries + width * dim;
  float *p = dps + width * dim, *ds = p + width * length;
  transpose_padded(qk, dim, heads, dim, queries, width);
  transpose_padded(dpooled, dim, heads, dim, dps, width);
  product(length, width, dim, x, dim, queries, width, p, width);
  product(length, width, dim, x, dim, dps, width, ds, width);
  for (int64_t j = 0; j < width; j += W) {
    alignas(64) float inverse[W];
    exponentials(p + j, length, W, width, scale, inverse);
    softmax_backward(p + j, ds + j, length, W, width, inverse, scale);
  }
  product_transposed(heads, dim, length, ds, width, x, dim, dqk, dim);
  product(length, dim, heads, p, width, dpooled, dim, dx, dim, accumulate_dx);
  product(length, dim, heads, ds, width, qk, dim, dx, dim, true);
}

}  // namespace

extern const AttentionTable attention_table = {W, forward, backward, last_forward, last_backward};

}  // namespace tt::kernels::TT_ISA
