#include <twotower/tensor/kernels/gemm/gemm_simd.h>

namespace tt::kernels::TT_ISA {
namespace {

template <class T>
struct Tile {
  const T* a;
  const T* b;
  T* c;
  int64_t k, stride_a, row_b, ldc;  // stride_a: from row to row of A, or from step to step when A is stored transposed
  int64_t tail;                     // columns of the last vector, in B's rows (direct B) and in C
};

// What a finished tile may still need; rare enough to go through memory.
template <class T>
__attribute__((noinline)) void finish(const T* tile, int rows, int64_t cols, T* c, const T* bias,
                                      const GemmBlock<T>& g) {
  for (int r = 0; r < rows; ++r, tile += kNr, c += g.ldc) {
    TT_FOR_VECTORS (j, step, cols) {
      vec<T> y = load(tile + j) * g.alpha;
      if (g.beta != 0) y = fma(load_step(c + j, step), broadcast(g.beta), y);
      if (bias != nullptr) y += load_step(bias + j, step);
      if (g.relu) y = max(vec<T>{}, y);
      store_step(c + j, y, step);
    }
  }
}

// MR rows by NV vectors and, with kHalfToo, half a vector. kByRow: A's row-to-row stride is stride_a and its
// step is 1; otherwise the other way round. kMask: the last vector has t.tail lanes.
template <class T, int MR, int NV, bool kHalfToo, bool kByRow, bool kMask>
void tile(const Tile<T>& t, const GemmBlock<T>& g, int64_t cols, const T* bias, bool plain) {
  using V = vec<T>;
  using H = half_vec<T>;
  V acc[MR][NV > 0 ? NV : 1];
  H half[MR];
  {  // the bias costs nothing where the sums begin
    V start[NV > 0 ? NV : 1] = {};
    H start_half = {};
    if (plain && bias != nullptr) {
      TT_UNROLL for (int v = 0; v < NV; ++v) start[v] = load(bias + v * W);
      if constexpr (kHalfToo) start_half = load_half(bias + NV * W);
    }
    TT_UNROLL for (int r = 0; r < MR; ++r) {
      TT_UNROLL for (int v = 0; v < NV; ++v) acc[r][v] = start[v];
      half[r] = start_half;
    }
  }
  const T* b = t.b;
  const int64_t stride = t.stride_a, row_b = t.row_b;
  // One base pointer for every three rows: x86 addresses base, base + stride and base + 2 * stride without arithmetic.
  constexpr int kBases = (MR + 2) / 3;
  const T* base[kBases];
  TT_UNROLL for (int q = 0; q < kBases; ++q) base[q] = t.a + (kByRow ? 3 * q * stride : 0);
  for (int64_t p = 0; p < t.k; ++p) {
    V bv[NV > 0 ? NV : 1];
    H bh = {};
    TT_UNROLL for (int v = 0; v < NV; ++v) bv[v] =
        kMask && !kHalfToo && v == NV - 1 ? load_n(b + v * W, t.tail) : load(b + v * W);
    if constexpr (kHalfToo) bh = kMask ? load_half_n(b + NV * W, t.tail) : load_half(b + NV * W);
    b += row_b;
    TT_UNROLL for (int r = 0; r < MR; ++r) {
      const T x = kByRow ? base[r / 3][r % 3 * stride] : base[0][r];
      if constexpr (NV == 0) {  // two half broadcasts a cycle, but one whole
        half[r] = fma(broadcast_as<H>(x), bh, half[r]);
      } else {
        const V av = broadcast(x);
        TT_UNROLL for (int v = 0; v < NV; ++v) acc[r][v] = fma(av, bv[v], acc[r][v]);
        if constexpr (kHalfToo) half[r] = fma(low(av), bh, half[r]);
      }
    }
    if constexpr (kByRow) {
      TT_UNROLL for (int q = 0; q < kBases; ++q)++ base[q];
    } else {
      base[0] += stride;
    }
  }
  constexpr int kWhole = kMask && !kHalfToo ? NV - 1 : NV;  // vectors that are never masked
  const auto put = [&](T * c, int64_t ldc, bool add, bool mask) __attribute__((always_inline)) {
    TT_UNROLL for (int r = 0; r < MR; ++r, c += ldc) {
      TT_UNROLL for (int v = 0; v < kWhole; ++v) store(c + v * W, add ? load(c + v * W) + acc[r][v] : acc[r][v]);
      T* last = c + kWhole * W;
      if constexpr (kHalfToo) {
        if (mask)
          store_half_n(last, add ? load_half_n(last, t.tail) + half[r] : half[r], t.tail);
        else
          store(last, add ? load_half(last) + half[r] : half[r]);
      } else if constexpr (kMask) {
        if (mask)
          store_n(last, add ? load_n(last, t.tail) + acc[r][kWhole] : acc[r][kWhole], t.tail);
        else
          store(last, acc[r][kWhole]);
      }
    }
  };
  if (plain && g.beta == 0) {
    if (g.relu) {
      TT_UNROLL for (int r = 0; r < MR; ++r) {
        TT_UNROLL for (int v = 0; v < NV; ++v) acc[r][v] = max(V{}, acc[r][v]);
        half[r] = max(H{}, half[r]);
      }
    }
    put(t.c, t.ldc, false, kMask);
  } else if (plain) {
    put(t.c, t.ldc, true, kMask);
  } else {
    alignas(64) T spill[MR * kNr];
    put(spill, kNr, false, false);
    finish(spill, MR, cols, t.c, bias, g);
  }
}

template <class T>
using TileFunction = void (*)(const Tile<T>&, const GemmBlock<T>&, int64_t, const T*, bool);

template <class T, int NV, bool kHalfToo, bool kByRow, bool kMask>
struct Tiles {
#define TT_TILE(MR) tile<T, MR, NV, kHalfToo, kByRow, kMask>
#if TT_ISA_LEVEL == 2
  static constexpr TileFunction<T> of[] = {nullptr,     TT_TILE(1),  TT_TILE(2),  TT_TILE(3),  TT_TILE(4),
                                           TT_TILE(5),  TT_TILE(6),  TT_TILE(7),  TT_TILE(8),  TT_TILE(9),
                                           TT_TILE(10), TT_TILE(11), TT_TILE(12), TT_TILE(13), TT_TILE(14)};
#elif TT_ISA_LEVEL == 1
  static constexpr TileFunction<T> of[] = {nullptr,    TT_TILE(1), TT_TILE(2), TT_TILE(3),
                                           TT_TILE(4), TT_TILE(5), TT_TILE(6)};
#else
  static constexpr TileFunction<T> of[] = {nullptr, TT_TILE(1), TT_TILE(2), TT_TILE(3), TT_TILE(4)};
#endif
};

// All rows of A against NV vectors of columns, or NV and a half. Rows are dealt out evenly: 16 rows are 8 +
// 8, not 14 + 2.
template <int NV, bool kHalfToo, bool kMask, class T>
void strip(const GemmBlock<T>& g, const T* b, int64_t column, int64_t cols) {
  const bool by_row = g.col_a == 1;
  const TileFunction<T>* tiles =
      by_row ? Tiles<T, NV, kHalfToo, true, kMask>::of : Tiles<T, NV, kHalfToo, false, kMask>::of;
  constexpr int64_t kWhole = NV * W + (kHalfToo ? kHalf : 0), kLast = kHalfToo ? kHalf : W;
  const bool whole = cols == kWhole || (kMask && g.bias == nullptr);
  const bool plain = g.alpha == 1 && whole && (g.beta == 0 || (g.beta == 1 && !g.relu));
  const T* bias = g.bias == nullptr ? nullptr : g.bias + column;
  Tile<T> t{g.a, b, g.c + column, g.k, by_row ? g.row_a : g.col_a, g.row_b, g.ldc, cols - (kWhole - kLast)};
  int64_t left = g.m;
  for (int64_t parts = (g.m + kMr - 1) / kMr; parts > 0; --parts) {
    const int64_t rows = (left + parts - 1) / parts;
    tiles[rows](t, g, cols, bias, plain);
    t.a += rows * g.row_a;
    t.c += rows * g.ldc;
    left -= rows;
  }
}

template <class T>
void pack_strips_transposed(const T* source, int64_t ld, int64_t n, int64_t k, T* packed) {
  for (int64_t j = 0; j < n; j += kNr, packed += kNr * k) {
    const int64_t cols = n - j < kNr ? n - j : kNr;
    transpose(source + j * ld, ld, cols, k, packed, kNr);
    if (cols < kNr)
      for (int64_t p = 0; p < k; ++p)
        for (int64_t q = cols; q < kNr; ++q) packed[p * kNr + q] = 0;
  }
}

template <class T>
void pack_strips(const T* source, int64_t ld, int64_t n, int64_t k, T* packed) {
  for (int64_t j = 0; j < n; j += kNr) {
    const int64_t cols = n - j < kNr ? n - j : kNr;
    const int64_t first = cols < W ? cols : W;
    for (int64_t p = 0; p < k; ++p, packed += kNr) {
      store(packed, load_step(source + p * ld + j, first));
      store(packed + W, cols > W ? load_step(source + p * ld + j + W, cols - W) : vec<T>{});
    }
  }
}

template <class T>
void block(const GemmBlock<T>& g) {
  int64_t j = 0;
  const T* b = g.b;
  for (; j + kNr <= g.n; j += kNr, b += g.strip_b) strip<2, false, false>(g, b, j, kNr);
  const int64_t tail = g.n - j;
  if (tail == 0) return;
  if (g.packed || tail % kHalf == 0) {  // whole vectors and halves may be read
    if constexpr (kHalf < W) {
      if (tail > W && tail <= W + kHalf) return strip<1, true, false>(g, b, j, tail);
      if (tail <= kHalf) return strip<0, true, false>(g, b, j, tail);
    }
    return tail > W ? strip<2, false, false>(g, b, j, tail) : strip<1, false, false>(g, b, j, tail);
  }
  if (tail >= W) strip<1, false, false>(g, b, j, W);
  const int64_t done = tail / W * W, left = tail - done;
  if constexpr (kHalf < W) {
    if (left <= kHalf) return strip<0, true, true>(g, b + done, j + done, left);
  }
  strip<1, false, true>(g, b + done, j + done, left);
}

}  // namespace

void gemm_block(const GemmBlock<float>& g) { block(g); }
#if TT_ISA_LEVEL == 0
void gemm_block(const GemmBlock<double>& g) { block(g); }
#endif

TT_DEFINE_TABLES(GemmTable, gemm, kMr, kNr, gemm_block, pack_strips_transposed, pack_strips)

}  // namespace tt::kernels::TT_ISA
