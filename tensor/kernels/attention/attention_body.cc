#include <twotower/tensor/kernels/attention/attention_body.h>
#include <twotower/tensor/kernels/attention/attention_tile.h>
#include <twotower/tensor/kernels/gemm/gemm_simd.h>
#include <twotower/tensor/kernels/vmath/vmath_simd.h>

namespace tt::kernels::TT_ISA {
namespace {

constexpr int64_t kPanel = kAttentionLanes;

// f(V{}, j) for the vectors V at lanes j = 0, W, ... of `width`, the last one perhaps a half.
template <class F>
TT_INLINE void each_vector(int64_t width, F&& f) {
  int64_t j = 0;
  for (; j + W <= width; j += W) f(vf{}, j);
  if constexpr (kHalf < W)
    if (j < width) f(vh{}, j);
}
#define TT_LAMBDA __attribute__((always_inline))

TT_INLINE float inverse_sqrt(int64_t n) { return 1.0f / __builtin_sqrtf(static_cast<float>(n)); }
// On the queries: scores / sqrt(d) in units of log 2, which is what exp2 wants.
TT_INLINE float score_factor(int64_t d) { return 1.44269504f * inverse_sqrt(d); }

// Operand [rows, count] (rows `stride` apart) -> factor * [count, width], zeros from `rows` up to a whole or
// half vector.
TT_INLINE void transpose_padded(const float* from, int64_t stride, int64_t rows, int64_t count, float* to,
                                int64_t width, float factor = 1) {
  transpose(from, stride, rows, count, to, width);
  const int64_t used = round_to_half(rows);
  for (int64_t p = 0; p < count; ++p, to += width) {
    for (int64_t j = rows; j < used; ++j) to[j] = 0;
    if (factor != 1)
      each_vector(used, [=](auto v, int64_t j) TT_LAMBDA { store(to + j, load_as<decltype(v)>(to + j) * factor); });
  }
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

// to[i, :] = factor[i] * sum_p panel[p, i] rows[p, :] for the n queries in a panel's lanes; factor may be
// null. Whichever of the two orders wastes fewer lanes: columns of `rows` in lanes, or queries again and a
// transposition at the end.
TT_INLINE void mix(const float* panel, int64_t keys, int64_t n, const float* rows, int64_t ld, int64_t d,
                   const float* factor, float* to, int64_t ld_to, float* work) {
  if (d * round_to_half(n) < n * round_to_half(d)) {
    product_transposed(d, round_to_half(n), keys, rows, ld, panel, kPanel, work, kPanel);
    if (factor != nullptr)
      for (int64_t c = 0; c < d; ++c)
        for (int64_t j = 0; j < n; j += W) store(work + c * kPanel + j, load(work + c * kPanel + j) * load(factor + j));
    return transpose(work, kPanel, d, n, to, ld_to);
  }
  product_transposed(n, d, keys, panel, kPanel, rows, ld, to, ld_to);
  if (factor == nullptr) return;
  for (int64_t i = 0; i < n; ++i)
    TT_FOR_VECTORS (c, step, d) store_step(to + i * ld_to + c, load_step(to + i * ld_to + c, step) * factor[i], step);
}

// Down each of `width` lanes of s [keys, ld]: 2^(s - max) in place, the maximum, and the inverse of their
// sum.
TT_INLINE void exponentials(float* s, int64_t keys, int64_t width, int64_t ld, float* top, float* inverse) {
  each_vector(width, [=](auto lanes, int64_t j) TT_LAMBDA {
    using V = decltype(lanes);
    V m = load_as<V>(s + j), m2 = m;
    int64_t i = 1;
    for (; i + 2 <= keys; i += 2) {
      m = max(load_as<V>(s + i * ld + j), m);
      m2 = max(load_as<V>(s + (i + 1) * ld + j), m2);
    }
    if (i < keys) m = max(load_as<V>(s + i * ld + j), m);
    m = max(m, m2);
    V total = {};
    for (i = 0; i < keys; ++i) {
      const V e = exp2(load_as<V>(s + i * ld + j) - m);
      store(s + i * ld + j, e);
      total += e;
    }
    store(top + j, m);
    store(inverse + j, 1.0f / total);
  });
}

// s: scores -> probabilities 2^(s - top) * inverse; dp -> ds = p * (dp - sum p dp) * scale.
TT_INLINE void softmax_backward(float* s, float* dp, int64_t keys, int64_t width, int64_t ld, const float* top,
                                const float* inverse, float scale) {
  each_vector(width, [=](auto lanes, int64_t j) TT_LAMBDA {
    using V = decltype(lanes);
    const V m = load_as<V>(top + j), inv = load_as<V>(inverse + j);
    V delta = {};
    for (int64_t i = 0; i < keys; ++i) {
      const V p = exp2(load_as<V>(s + i * ld + j) - m) * inv;
      store(s + i * ld + j, p);
      delta = fma(p, load_as<V>(dp + i * ld + j), delta);
    }
    for (int64_t i = 0; i < keys; ++i)
      store(dp + i * ld + j, load_as<V>(s + i * ld + j) * ((load_as<V>(dp + i * ld + j) - delta) * scale));
  });
}

// stats: of head h, its queries' maxima at 2 * h * length, the inverse sums `length` behind them.
void forward(const float* qkv, int64_t length, int64_t dim, int64_t heads, float* out, float* stats, float* work) {
  const int64_t d = dim / heads, ld = 3 * dim;
  float *queries = work, *scores = work + d * kPanel;
  alignas(64) float top[kPanel], inverse[kPanel];
  for (int64_t h = 0; h < heads; ++h) {
    const float *q = qkv + h * d, *k = q + dim, *v = k + dim;
    for (int64_t first = 0; first < length; first += kPanel) {
      const int64_t n = length - first < kPanel ? length - first : kPanel, width = round_to_half(n);
      transpose_padded(q + first * ld, ld, n, d, queries, kPanel, score_factor(d));
      product(length, width, d, k, ld, queries, kPanel, scores, kPanel);
      exponentials(scores, length, width, kPanel, top, inverse);
      mix(scores, length, n, v, ld, d, inverse, out + first * dim + h * d, dim, queries);
      if (stats == nullptr) continue;
      float* to = stats + 2 * h * length + first;
      TT_FOR_VECTORS (j, step, n) {
        store_step(to + j, load(top + j), step);
        store_step(to + length + j, load(inverse + j), step);
      }
    }
  }
}

TT_INLINE float dot(const float* a, const float* b, int64_t n) {
  vf total = {};
  TT_FOR_VECTORS (i, step, n) total = fma(load_step(a + i, step), load_step(b + i, step), total);
  return sum_lanes(total);
}

// Asks for this head's share of the next sequence, which usually lies behind this one: its rows are too far
// apart for the hardware to guess.
TT_INLINE void prefetch_share(const float* next, int64_t floats, int64_t h, int64_t heads) {
  const int64_t share = (floats + heads - 1) / heads;
  for (int64_t i = h * share; i < (h + 1) * share; i += 16) __builtin_prefetch(next + i, 0, 2);
}

void backward(const float* qkv, const float* out, const float* stats, int64_t length, int64_t dim, int64_t heads,
              const float* dout, float* dqkv, float* work) {
  const int64_t d = dim / heads, ld = 3 * dim;
  float *keys = work, *values = keys + d * kPanel;
  float *p = values + d * kPanel, *ds = p + length * kPanel, *delta = ds + length * kPanel;
  for (int64_t h = 0; h < heads; ++h) {
    const float *q = qkv + h * d, *k = q + dim, *v = k + dim, *o = dout + h * d;
    float *dq = dqkv + h * d, *dk = dq + dim, *dv = dk + dim;
    prefetch_share(qkv + length * ld, length * ld, h, heads);
    // sum_j p dp = sum_j p_j (dout . v_j) = dout . out
    for (int64_t i = 0; i < length; ++i) delta[i] = dot(o + i * dim, out + h * d + i * dim, d) * inverse_sqrt(d);
    const float* top = stats + 2 * h * length;
    for (int64_t first = 0; first < length; first += kPanel) {
      const int64_t n = length - first < kPanel ? length - first : kPanel, width = round_to_half(n);
      transpose_padded(k + first * ld, ld, n, d, keys, kPanel, score_factor(d));
      transpose_padded(v + first * ld, ld, n, d, values, kPanel, inverse_sqrt(d));
      score_gradients({q, o, ld, dim, d, keys, values, top, top + length, delta, p, ds, kPanel}, length, width);
      product(length, d, n, ds, kPanel, k + first * ld, ld, dq, ld, first > 0);
      mix(ds, length, n, q, ld, d, nullptr, dk + first * ld, ld, keys);
      mix(p, length, n, o, dim, d, nullptr, dv + first * ld, ld, keys);
    }
  }
}

void zero(float* x, int64_t n) {
  TT_FOR_VECTORS (i, step, n) store_step(x + i, vf{}, step);
}

// Scores [length, width]: here the heads' single queries lie in the lanes.
void last_forward(const float* qk, const float* x, int64_t length, int64_t dim, int64_t heads, float* pooled,
                  float* work) {
  if (length == 0) return zero(pooled, heads * dim);
  const int64_t width = round_to_half(heads);
  float *queries = work, *p = work + width * dim;
  transpose_padded(qk, dim, heads, dim, queries, width, score_factor(dim / heads));
  product(length, width, dim, x, dim, queries, width, p, width);
  each_vector(width, [=](auto lanes, int64_t j) TT_LAMBDA {
    using V = decltype(lanes);
    alignas(64) float top[W], inverse[W];
    exponentials(p + j, length, sizeof(V) / 4, width, top, inverse);
    for (int64_t i = 0; i < length; ++i) store(p + i * width + j, load_as<V>(p + i * width + j) * load_as<V>(inverse));
  });
  product_transposed(heads, dim, length, p, width, x, dim, pooled, dim);
}

void last_backward(const float* qk, const float* x, int64_t length, int64_t dim, int64_t heads, const float* dpooled,
                   float* dqk, float* dx, bool accumulate_dx, float* work) {
  if (length == 0) return zero(dqk, heads * dim);
  const int64_t width = round_to_half(heads);
  float *queries = work, *dps = queries + width * dim;
  float *p = dps + width * dim, *ds = p + width * length;
  transpose_padded(qk, dim, heads, dim, queries, width, score_factor(dim / heads));
  transpose_padded(dpooled, dim, heads, dim, dps, width);
  product(length, width, dim, x, dim, queries, width, p, width);
  product(length, width, dim, x, dim, dps, width, ds, width);
  each_vector(width, [=](auto lanes, int64_t j) TT_LAMBDA {
    using V = decltype(lanes);
    alignas(64) float top[W], inverse[W];
    V m = load_as<V>(p + j), total = {};
    for (int64_t i = 1; i < length; ++i) m = max(load_as<V>(p + i * width + j), m);
    for (int64_t i = 0; i < length; ++i) total += exp2(load_as<V>(p + i * width + j) - m);
    store(top, m), store(inverse, 1.0f / total);
    softmax_backward(p + j, ds + j, length, sizeof(V) / 4, width, top, inverse, inverse_sqrt(dim / heads));
  });
  product_transposed(heads, dim, length, ds, width, x, dim, dqk, dim);
  product(length, dim, heads, p, width, dpooled, dim, dx, dim, accumulate_dx);
  product(length, dim, heads, ds, width, qk, dim, dx, dim, true);
}

}  // namespace

extern const AttentionTable attention_table = {W, forward, backward, last_forward, last_backward};

}  // namespace tt::kernels::TT_ISA
