#include "tensor/kernels/gemm/gemm_simd.h"

namespace tt::kernels::TT_ISA {
namespace {

struct Tile {
  const float* a;
  const float* b;
  float* c;
  int64_t k, stride_a, row_b, ldc;  // stride_a: from row to row of A, or from step to step when A is stored transposed
  int64_t tail;                     // columns of the last vector, in B's rows (direct B) and in C
};

// What a finished tile may still need; rare enough to go through memory.
__attribute__((noinline)) void finish(const float* tile, int rows, int64_t cols, float* c, const float* bias,
                                      const GemmBlock& g) {
  for (int r = 0; r < rows; ++r, tile += kNr, c += g.ldc) {
    TT_FOR_VECTORS(j, step, cols) {
      vf y = load(tile + j) * g.alpha;
      if (g.beta != 0) y = fma(load_step(c + j, step), broadcast(g.beta), y);
      if (bias != nullptr) y += load_step(bias + j, step);
      if (g.relu) y = max(vf{}, y);
      store_step(c + j, y, step);
    }
  }
}

// kByRow: A's row-to-row stride is stride_a and its step is 1; otherwise the other way round.
template <int MR, int NV, bool kByRow, bool kMask>
void tile(const Tile& t, const GemmBlock& g, int64_t cols, const float* bias, bool plain) {
  vf acc[MR][NV];
  TT_UNROLL for (int r = 0; r < MR; ++r) TT_UNROLL for (int v = 0; v < NV; ++v) acc[r][v] = vf{};
  const float* b = t.b;
  const int64_t stride = t.stride_a, row_b = t.row_b;
  // One base pointer for every three rows: x86 addresses base, base + stride and base + 2 * stride without arithmetic.
  constexpr int kBases = (MR + 2) / 3;
  const float* base[kBases];
  TT_UNROLL for (int q = 0; q < kBases; ++q) base[q] = t.a + (kByRow ? 3 * q * stride : 0);
  for (int64_t p = 0; p < t.k; ++p) {
    vf bv[NV];
    TT_UNROLL for (int v = 0; v < NV; ++v) bv[v] = kMask ? load_n(b + v * W, t.tail) : load(b + v * W);
    b += row_b;
    if constexpr (kByRow) {
      TT_UNROLL for (int r = 0; r < MR; ++r) {
        const vf av = broadcast(base[r / 3][r % 3 * stride]);
        TT_UNROLL for (int v = 0; v < NV; ++v) acc[r][v] = fma(av, bv[v], acc[r][v]);
      }
      TT_UNROLL for (int q = 0; q < kBases; ++q) ++base[q];
    } else {
      TT_UNROLL for (int r = 0; r < MR; ++r) {
        const vf av = broadcast(base[0][r]);
        TT_UNROLL for (int v = 0; v < NV; ++v) acc[r][v] = fma(av, bv[v], acc[r][v]);
      }
      base[0] += stride;
    }
  }
  float* c = t.c;
  if (plain && g.beta == 0) {
    TT_UNROLL for (int r = 0; r < MR; ++r) TT_UNROLL for (int v = 0; v < NV; ++v) store(c + r * t.ldc + v * W, acc[r][v]);
  } else if (plain) {
    TT_UNROLL for (int r = 0; r < MR; ++r) TT_UNROLL for (int v = 0; v < NV; ++v) {
      float* to = c + r * t.ldc + v * W;
      store(to, load(to) + acc[r][v]);
    }
  } else {
    alignas(64) float spill[MR * kNr];
    TT_UNROLL for (int r = 0; r < MR; ++r) TT_UNROLL for (int v = 0; v < NV; ++v) store(spill + r * kNr + v * W, acc[r][v]);
    finish(spill, MR, cols, c, bias, g);
  }
}

using TileFunction = void (*)(const Tile&, const GemmBlock&, int64_t, const float*, bool);

template <int NV, bool kByRow, bool kMask>
struct Tiles {
#define TT_TILE(MR) tile<MR, NV, kByRow, kMask>
#if TT_ISA_LEVEL == 2
  static constexpr TileFunction of[] = {nullptr,    TT_TILE(1), TT_TILE(2),  TT_TILE(3),  TT_TILE(4),
                                        TT_TILE(5), TT_TILE(6), TT_TILE(7),  TT_TILE(8),  TT_TILE(9),
                                        TT_TILE(10), TT_TILE(11), TT_TILE(12), TT_TILE(13), TT_TILE(14)};
#elif TT_ISA_LEVEL == 1
  static constexpr TileFunction of[] = {nullptr,    TT_TILE(1), TT_TILE(2), TT_TILE(3),
                                        TT_TILE(4), TT_TILE(5), TT_TILE(6)};
#else
  static constexpr TileFunction of[] = {nullptr, TT_TILE(1), TT_TILE(2), TT_TILE(3), TT_TILE(4)};
#endif
};

// All rows of A against NV vectors of columns. Rows are dealt out evenly: 16 rows are 8 + 8, not 14 + 2.
template <int NV, bool kMask>
void strip(const GemmBlock& g, const float* b, int64_t column, int64_t cols) {
  const bool by_row = g.col_a == 1;
  const TileFunction* tiles = by_row ? Tiles<NV, true, kMask>::of : Tiles<NV, false, kMask>::of;
  const bool plain = g.alpha == 1 && (g.beta == 0 || g.beta == 1) && g.bias == nullptr && !g.relu && cols == NV * W;
  const float* bias = g.bias == nullptr ? nullptr : g.bias + column;
  Tile t{g.a, b, g.c + column, g.k, by_row ? g.row_a : g.col_a, g.row_b, g.ldc, cols - (NV - 1) * W};
  int64_t left = g.m;
  for (int64_t parts = (g.m + kMr - 1) / kMr; parts > 0; --parts) {
    const int64_t rows = (left + parts - 1) / parts;
    tiles[rows](t, g, cols, bias, plain);
    t.a += rows * g.row_a;
    t.c += rows * g.ldc;
    left -= rows;
  }
}

void pack_strips_transposed(const float* source, int64_t ld, int64_t n, int64_t k, float* packed) {
  for (int64_t j = 0; j < n; j += kNr, packed += kNr * k) {
    const int64_t cols = n - j < kNr ? n - j : kNr;
    transpose(source + j * ld, ld, cols, k, packed, kNr);
    if (cols < kNr)
      for (int64_t p = 0; p < k; ++p)
        for (int64_t q = cols; q < kNr; ++q) packed[p * kNr + q] = 0;
  }
}

void pack_strips(const float* source, int64_t ld, int64_t n, int64_t k, float* packed) {
  for (int64_t j = 0; j < n; j += kNr) {
    const int64_t cols = n - j < kNr ? n - j : kNr;
    const int64_t first = cols < W ? cols : W;
    for (int64_t p = 0; p < k; ++p, packed += kNr) {
      store(packed, load_step(source + p * ld + j, first));
      store(packed + W, cols > W ? load_step(source + p * ld + j + W, cols - W) : vf{});
    }
  }
}

}  // namespace

void gemm_block(const GemmBlock& g) {
  int64_t j = 0;
  const float* b = g.b;
  for (; j + kNr <= g.n; j += kNr, b += g.strip_b) strip<2, false>(g, b, j, kNr);
  const int64_t tail = g.n - j;
  if (tail == 0) return;
  if (g.packed) {
    if (tail > W)
      strip<2, false>(g, b, j, tail);
    else
      strip<1, false>(g, b, j, tail);
    return;
  }
  if (tail >= W) strip<1, false>(g, b, j, W);
  if (tail % W != 0) {
    const int64_t done = tail / W * W;
    strip<1, true>(g, b + done, j + done, tail - done);
  }
}

extern const GemmTable gemm_table = {kMr, kNr, gemm_block, pack_strips_transposed, pack_strips};

}  // namespace tt::kernels::TT_ISA
