#include <twotower/tensor/kernels/attention/attention_body.h>
#include <twotower/tensor/kernels/attention/attention_tile.h>
#include <twotower/tensor/kernels/gemm/gemm_simd.h>
#include <twotower/tensor/kernels/vmath/vmath_simd.h>

namespace tt::kernels::TT_ISA {
namespace {

constexpr int64_t kPanel = kAttentionLanes;

// f(V{}, j) for the vectors V at lanes j = 0, W, ... of `width`, the last one perhaps a half.
template <class T, class F>
TT_INLINE void each_vector(int64_t width, F&& f) {
  int64_t j = 0;
  for (; j + W <= width; j += W) f(vec<T>{}, j);
  if constexpr (kHalf < W)
    if (j < width) f(half_vec<T>{}, j);
}
#define TT_LAMBDA __attribute__((always_inline))

template <class T>
TT_INLINE T inverse_sqrt(int64_t n) {
  return 1 / root(static_cast<T>(n));
}
// On the queries: scores / sqrt(d) in units of log 2, which is what exp2 wants.
template <class T>
TT_INLINE T score_factor(int64_t d) {
  return static_cast<T>(kLog2e) * inverse_sqrt<T>(d);
}

// Operand [rows, count] (rows `stride` apart) -> factor * [count, width], zeros from `rows` up to a whole or
// half vector.
template <class T>
TT_INLINE void transpose_padded(const T* from, int64_t stride, int64_t rows, int64_t count, T* to, int64_t width,
                                T factor = T(1)) {
  transpose(from, stride, rows, count, to, width);
  const int64_t used = round_to_half(rows);
  for (int64_t p = 0; p < count; ++p, to += width) {
    for (int64_t j = rows; j < used; ++j) to[j] = 0;
    if (factor != T(1))
      each_vector<T>(used, [=](auto v, int64_t j) TT_LAMBDA { store(to + j, load_as<decltype(v)>(to + j) * factor); });
  }
}

// C[m, n] (+)= A[m, k] B[k, n], A by rows.
template <class T>
TT_INLINE void product(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, int64_t ldb, T* c,
                       int64_t ldc, bool add = false) {
  GemmBlock<T> g;
  g.m = m, g.n = n, g.k = k;
  g.a = a, g.row_a = lda, g.b = b, g.row_b = ldb, g.strip_b = kNr;
  g.c = c, g.ldc = ldc, g.beta = add ? 1 : 0;
  gemm_block(g);
}

// C[m, n] = A^T B, A [k, m] by rows.
template <class T>
TT_INLINE void product_transposed(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, int64_t ldb,
                                  T* c, int64_t ldc) {
  GemmBlock<T> g;
  g.m = m, g.n = n, g.k = k;
  g.a = a, g.row_a = 1, g.col_a = lda, g.b = b, g.row_b = ldb, g.strip_b = kNr;
  g.c = c, g.ldc = ldc;
  gemm_block(g);
}

// to[i, :] = factor[i] * sum_p panel[p, i] rows[p, :] for the n queries in a panel's lanes; factor may be
// null. Whichever of the two orders wastes fewer lanes: columns of `rows` in lanes, or queries again and a
// transposition at the end.
template <class T>
TT_INLINE void mix(const T* panel, int64_t keys, int64_t n, const T* rows, int64_t ld, int64_t d, const T* factor,
                   T* to, int64_t ld_to, T* work) {
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
template <class T>
TT_INLINE void exponentials(T* s, int64_t keys, int64_t width, int64_t ld, T* top, T* inverse) {
  each_vector<T>(width, [=](auto lanes, int64_t j) TT_LAMBDA {
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
    store(inverse + j, T(1) / total);
  });
}

// s: scores -> probabilities 2^(s - top) * inverse; dp -> ds = p * (dp - sum p dp) * scale.
template <class T>
TT_INLINE void softmax_backward(T* s, T* dp, int64_t keys, int64_t width, int64_t ld, const T* top, const T* inverse,
                                T scale) {
  each_vector<T>(width, [=](auto lanes, int64_t j) TT_LAMBDA {
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

// Where distance 0 lies in a head's causal tables.
template <class T>
TT_INLINE const T* distances_up(const T* causal, int64_t distances, int64_t h) {
  return causal + 2 * h * causal_stride(distances) + kAttentionLanes;
}
template <class T>
TT_INLINE const T* distances_down(const T* causal, int64_t distances, int64_t h) {
  return causal + (2 * h + 1) * causal_stride(distances) + distances - 1;
}

// s [keys, width] += what the distances from queries, in lanes, to keys ask for; the first key is the first query.
template <class T>
TT_INLINE void add_distances(T* s, int64_t keys, int64_t width, const T* down) {
  for (int64_t i = 0; i < keys; ++i, s += kPanel, --down)
    each_vector<T>(width, [=](auto lanes, int64_t j) TT_LAMBDA {
      using V = decltype(lanes);
      store(s + j, load_as<V>(s + j) + load_as<V>(down + j));
    });
}

// stats: of head h, its queries' maxima at 2 * h * length, the inverse sums `length` behind them.
template <class T>
void forward(const T* qkv, int64_t length, int64_t dim, int64_t heads, const T* causal, int64_t distances, T* out,
             T* stats, T* work) {
  const int64_t d = dim / heads, ld = 3 * dim;
  T *queries = work, *scores = work + d * kPanel;
  alignas(64) T top[kPanel], inverse[kPanel];
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t first = 0; first < length; first += kPanel) {
      const int64_t n = length - first < kPanel ? length - first : kPanel, width = round_to_half(n);
      const int64_t begin = causal != nullptr ? first : 0, keys = length - begin;
      const T *q = qkv + h * d, *k = q + dim + begin * ld, *v = k + dim;
      transpose_padded(q + first * ld, ld, n, d, queries, kPanel, score_factor<T>(d));
      product(keys, width, d, k, ld, queries, kPanel, scores, kPanel);
      if (causal != nullptr) add_distances(scores, keys, width, distances_down(causal, distances, h));
      exponentials(scores, keys, width, kPanel, top, inverse);
      mix(scores, keys, n, v, ld, d, inverse, out + first * dim + h * d, dim, queries);
      if (stats == nullptr) continue;
      T* to = stats + 2 * h * length + first;
      TT_FOR_VECTORS (j, step, n) {
        store_step(to + j, load(top + j), step);
        store_step(to + length + j, load(inverse + j), step);
      }
    }
  }
}

template <class T>
TT_INLINE T dot(const T* a, const T* b, int64_t n) {
  vec<T> total = {};
  TT_FOR_VECTORS (i, step, n) total = fma(load_step(a + i, step), load_step(b + i, step), total);
  return sum_lanes(total);
}

// Asks for this head's share of the next sequence, which usually lies behind this one: its rows are too far
// apart for the hardware to guess.
template <class T>
TT_INLINE void prefetch_share(const T* next, int64_t numbers, int64_t h, int64_t heads) {
  const int64_t share = (numbers + heads - 1) / heads;
  for (int64_t i = h * share; i < (h + 1) * share; i += 64 / static_cast<int64_t>(sizeof(T)))
    __builtin_prefetch(next + i, 0, 2);
}

template <class T>
void zero(T* x, int64_t n) {
  TT_FOR_VECTORS (i, step, n) store_step(x + i, vec<T>{}, step);
}

// sums[x + kPanel] += the scores' gradients at distance x, x = -kPanel .. : row i holds those of a query, its lanes
// `keys` keys from `first` on.
template <class T>
TT_INLINE void add_by_distance(const T* ds, int64_t queries, int64_t first, int64_t keys, T* sums) {
  T* to = sums + kPanel + first;
  for (int64_t i = 0; i < queries; ++i, ds += kPanel, --to)
    TT_FOR_VECTORS (j, step, keys) store_step(to + j, load_step(to + j, step) + load_step(ds + j, step), step);
}

template <class T>
void backward(const T* qkv, const T* out, const T* stats, int64_t length, int64_t dim, int64_t heads, const T* causal,
              int64_t distances, const T* dout, T* dqkv, T* dbias, T* work) {
  const int64_t d = dim / heads, ld = 3 * dim;
  T *keys = work, *values = keys + d * kPanel;
  T *p = values + d * kPanel, *ds = p + length * kPanel, *delta = ds + length * kPanel, *sums = delta + length;
  for (int64_t h = 0; h < heads; ++h) {
    const T *q = qkv + h * d, *k = q + dim, *v = k + dim, *o = dout + h * d;
    T *dq = dqkv + h * d, *dk = dq + dim, *dv = dk + dim;
    prefetch_share(qkv + length * ld, length * ld, h, heads);
    // sum_j p dp = sum_j p_j (dout . v_j) = dout . out
    for (int64_t i = 0; i < length; ++i) delta[i] = dot(o + i * dim, out + h * d + i * dim, d) * inverse_sqrt<T>(d);
    const T* top = stats + 2 * h * length;
    if (dbias != nullptr) zero(sums, length + kPanel);
    for (int64_t first = 0; first < length; first += kPanel) {
      const int64_t n = length - first < kPanel ? length - first : kPanel, width = round_to_half(n);
      // Queries that see these keys; of a causal layer the newer ones. The others have had gradients from keys before.
      const int64_t queries = causal != nullptr ? first + n : length,
                    met = causal != nullptr || first == 0 ? first : length;
      const T* up = causal != nullptr ? distances_up(causal, distances, h) + first : nullptr;
      transpose_padded(k + first * ld, ld, n, d, keys, kPanel, score_factor<T>(d));
      transpose_padded(v + first * ld, ld, n, d, values, kPanel, inverse_sqrt<T>(d));
      score_gradients<T>({q, o, ld, dim, d, keys, values, top, top + length, delta, up, p, ds, kPanel}, queries, width);
      if (dbias != nullptr) add_by_distance(ds, queries, first, n, sums);
      if (met > 0) product(met, d, n, ds, kPanel, k + first * ld, ld, dq, ld, true);
      if (met < queries)
        product(queries - met, d, n, ds + met * kPanel, kPanel, k + first * ld, ld, dq + met * ld, ld, false);
      mix(ds, queries, n, q, ld, d, static_cast<const T*>(nullptr), dk + first * ld, ld, keys);
      mix(p, queries, n, o, dim, d, static_cast<const T*>(nullptr), dv + first * ld, ld, keys);
    }
    if (dbias != nullptr)
      for (int64_t x = 0; x < length; ++x) dbias[h * distances + x] += sums[kPanel + x] / inverse_sqrt<T>(d);
  }
}

// p [length, width] += bias of each head, a lane, by distance.
template <class T>
TT_INLINE void add_head_biases(T* p, int64_t length, int64_t width, int64_t heads, const T* bias, int64_t distances) {
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < length; ++i) p[i * width + h] += bias[h * distances + i] * static_cast<T>(kLog2e);
}

// Scores [length, width]: here the heads' single queries lie in the lanes.
template <class T>
void last_forward(const T* qk, const T* x, int64_t length, int64_t dim, int64_t heads, const T* bias, int64_t distances,
                  T* pooled, T* work) {
  if (length == 0) return zero(pooled, heads * dim);
  const int64_t width = round_to_half(heads);
  T *queries = work, *p = work + width * dim;
  transpose_padded(qk, dim, heads, dim, queries, width, score_factor<T>(dim / heads));
  product(length, width, dim, x, dim, queries, width, p, width);
  if (bias != nullptr) add_head_biases(p, length, width, heads, bias, distances);
  each_vector<T>(width, [=](auto lanes, int64_t j) TT_LAMBDA {
    using V = decltype(lanes);
    alignas(64) T top[W], inverse[W];
    exponentials(p + j, length, sizeof(V) / sizeof(T), width, top, inverse);
    for (int64_t i = 0; i < length; ++i) store(p + i * width + j, load_as<V>(p + i * width + j) * load_as<V>(inverse));
  });
  product_transposed(heads, dim, length, p, width, x, dim, pooled, dim);
}

template <class T>
void last_backward(const T* qk, const T* x, int64_t length, int64_t dim, int64_t heads, const T* bias,
                   int64_t distances, const T* dpooled, T* dqk, T* dx, T* dscores, T* work) {
  if (length == 0) return zero(dqk, heads * dim);
  const int64_t width = round_to_half(heads);
  T *queries = work, *dps = queries + width * dim;
  T *p = dps + width * dim, *ds = p + width * length;
  transpose_padded(qk, dim, heads, dim, queries, width, score_factor<T>(dim / heads));
  transpose_padded(dpooled, dim, heads, dim, dps, width);
  product(length, width, dim, x, dim, queries, width, p, width);
  if (bias != nullptr) add_head_biases(p, length, width, heads, bias, distances);
  product(length, width, dim, x, dim, dps, width, ds, width);
  each_vector<T>(width, [=](auto lanes, int64_t j) TT_LAMBDA {
    using V = decltype(lanes);
    alignas(64) T top[W], inverse[W];
    V m = load_as<V>(p + j), total = {};
    for (int64_t i = 1; i < length; ++i) m = max(load_as<V>(p + i * width + j), m);
    for (int64_t i = 0; i < length; ++i) total += exp2(load_as<V>(p + i * width + j) - m);
    store(top, m), store(inverse, T(1) / total);
    softmax_backward(p + j, ds + j, length, sizeof(V) / sizeof(T), width, top, inverse, inverse_sqrt<T>(dim / heads));
  });
  product_transposed(heads, dim, length, ds, width, x, dim, dqk, dim);
  if (dscores != nullptr)
    for (int64_t i = 0; i < length; ++i)
      for (int64_t h = 0; h < heads; ++h) dscores[i * heads + h] = ds[i * width + h] / inverse_sqrt<T>(dim / heads);
  if (dx == nullptr) return;
  product(length, dim, heads, p, width, dpooled, dim, dx, dim, true);
  product(length, dim, heads, ds, width, qk, dim, dx, dim, true);
}

}  // namespace

TT_DEFINE_TABLES(AttentionTable, attention, W, forward, backward, last_forward, last_backward)

}  // namespace tt::kernels::TT_ISA
