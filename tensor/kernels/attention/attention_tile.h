#pragma once
// The backward pass's inner tile: a few queries against a panel of keys, which lie in SIMD lanes. Both
// products, the power of 2 and the softmax's gradient happen in registers; only p and ds are written. For
// kernel bodies.

#include <twotower/tensor/kernels/simd.h>
#include <twotower/tensor/kernels/vmath/vmath_simd.h>

namespace tt::kernels::TT_ISA {

// p[i, j] = 2^(q_i . k_j + up[j - i] - top_i) * inverse_i,   ds[i, j] = p[i, j] * (o_i . v_j - delta_i)
template <class T>
struct ScoreTile {
  const T *q, *o;  // rows ld_q and ld_o apart, d columns
  int64_t ld_q, ld_o, d;
  const T *k, *v;  // [d, keys], rows ld apart: log2(e) / sqrt(d) times the keys, 1 / sqrt(d) times the values
  const T *top, *inverse, *delta;
  const T* up;  // of a causal layer, by how much older the first key is than the first query; else null
  T *p, *ds;    // rows ld apart
  int64_t ld;
};

#if TT_ISA_LEVEL == 2
constexpr int kTileQueries = 6;  // times two vectors, times two products: 24 of 32 registers
#else
constexpr int kTileQueries = 2;  // 8 of 16
#endif

// MR queries by NV vectors of keys and, with kHalfToo, half a vector.
template <class T, int MR, int NV, bool kHalfToo>
void score_tile(const ScoreTile<T>& t) {
  using V = vec<T>;
  using H = half_vec<T>;
  constexpr int kV = NV > 0 ? NV : 1;
  V s[MR][kV], g[MR][kV];
  H hs[MR], hg[MR];
  TT_UNROLL for (int r = 0; r < MR; ++r) {  // what is to be taken off costs nothing where the sums begin
    const T top = -t.top[r], delta = -t.delta[r];
    TT_UNROLL for (int x = 0; x < NV; ++x) s[r][x] = broadcast(top), g[r][x] = broadcast(delta);
    if constexpr (kHalfToo) hs[r] = broadcast_as<H>(top), hg[r] = broadcast_as<H>(delta);
  }
  if (t.up != nullptr) TT_UNROLL for (int r = 0; r < MR; ++r) {
      TT_UNROLL for (int x = 0; x < NV; ++x) s[r][x] += load(t.up - r + x * W);
      if constexpr (kHalfToo) hs[r] += load_half(t.up - r + NV * W);
    }
  constexpr int kBases = (MR + 2) / 3;  // as in the matrix product's tile
  const T *q[kBases], *o[kBases], *k = t.k, *v = t.v;
  TT_UNROLL for (int b = 0; b < kBases; ++b) q[b] = t.q + 3 * b * t.ld_q, o[b] = t.o + 3 * b * t.ld_o;
  for (int64_t c = 0; c < t.d; ++c, k += t.ld, v += t.ld) {
    V kv[kV], vv[kV];
    H kh = {}, vhalf = {};
    TT_UNROLL for (int x = 0; x < NV; ++x) kv[x] = load(k + x * W), vv[x] = load(v + x * W);
    if constexpr (kHalfToo) kh = load_half(k + NV * W), vhalf = load_half(v + NV * W);
    TT_UNROLL for (int r = 0; r < MR; ++r) {
      const T qr = q[r / 3][r % 3 * t.ld_q], dor = o[r / 3][r % 3 * t.ld_o];
      TT_UNROLL for (int x = 0; x < NV; ++x) {
        s[r][x] = fma(broadcast(qr), kv[x], s[r][x]);
        g[r][x] = fma(broadcast(dor), vv[x], g[r][x]);
      }
      if constexpr (kHalfToo) {
        hs[r] = fma(broadcast_as<H>(qr), kh, hs[r]);
        hg[r] = fma(broadcast_as<H>(dor), vhalf, hg[r]);
      }
    }
    TT_UNROLL for (int b = 0; b < kBases; ++b)++ q[b], ++o[b];
  }
  TT_UNROLL for (int r = 0; r < MR; ++r) {
    T *p = t.p + r * t.ld, *ds = t.ds + r * t.ld;
    TT_UNROLL for (int x = 0; x < NV; ++x) {
      const V y = exp2(s[r][x]) * broadcast(t.inverse[r]);
      store(p + x * W, y), store(ds + x * W, y * g[r][x]);
    }
    if constexpr (kHalfToo) {
      const H y = exp2(hs[r]) * broadcast_as<H>(t.inverse[r]);
      store(p + NV * W, y), store(ds + NV * W, y * hg[r]);
    }
  }
}

// `queries` rows, dealt out evenly to tiles.
template <int NV, bool kHalfToo, class T>
TT_INLINE void score_strip(ScoreTile<T> t, int64_t queries) {
  using Function = void (*)(const ScoreTile<T>&);
#define TT_TILE(MR) score_tile<T, MR, NV, kHalfToo>
#if TT_ISA_LEVEL == 2
  static constexpr Function tiles[] = {nullptr, TT_TILE(1), TT_TILE(2), TT_TILE(3), TT_TILE(4), TT_TILE(5), TT_TILE(6)};
#else
  static constexpr Function tiles[] = {nullptr, TT_TILE(1), TT_TILE(2)};
#endif
#undef TT_TILE
  for (int64_t parts = (queries + kTileQueries - 1) / kTileQueries; parts > 0; --parts) {
    const int64_t rows = (queries + parts - 1) / parts;
    tiles[rows](t);
    t.q += rows * t.ld_q, t.o += rows * t.ld_o;
    t.top += rows, t.inverse += rows, t.delta += rows;
    if (t.up != nullptr) t.up -= rows;
    t.p += rows * t.ld, t.ds += rows * t.ld;
    queries -= rows;
  }
}

// All queries against `width` lanes of keys, a multiple of kHalf.
template <class T>
TT_INLINE void score_gradients(ScoreTile<T> t, int64_t queries, int64_t width) {
  const auto next = [&t](int64_t lanes) __attribute__((always_inline)) {
    t.k += lanes, t.v += lanes, t.p += lanes, t.ds += lanes;
    if (t.up != nullptr) t.up += lanes;
  };
  for (; width >= 2 * W; width -= 2 * W, next(2 * W)) score_strip<2, false>(t, queries);
  if constexpr (kHalf < W) {
    if (width > W) return score_strip<1, true>(t, queries);
    if (width == kHalf) return score_strip<0, true>(t, queries);
  }
  if (width > 0) score_strip<1, false>(t, queries);
}

}  // namespace tt::kernels::TT_ISA
