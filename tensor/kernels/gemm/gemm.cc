#include <twotower/tensor/kernels/gemm/gemm.h>
#include <twotower/tensor/kernels/gemm/gemm_body.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>

namespace tt::kernels {
namespace {

constexpr int64_t kDepth = 384;      // steps of k between visits to C
constexpr int64_t kWidth = 1024;     // columns of B packed at once: 1.5 MB
constexpr int64_t kSmall = 1 << 17;  // multiply-adds that one thread does sooner than two
constexpr int64_t kUnits = 16;       // pieces worth having for balance

struct Problem {
  const GemmTable<float>& body;
  bool ta, tb;
  int64_t m, n, k;
  float alpha;
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;
  float beta;
  float* c;
  int64_t ldc;
  const float* bias;
  bool relu;
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

float* scratch(int slot, int64_t floats) {
  return static_cast<float*>(thread_scratch(slot, static_cast<std::size_t>(floats) * sizeof(float)));
}

const float* a_at(const Problem& g, int64_t row, int64_t step) {
  return g.ta ? g.a + step * g.lda + row : g.a + row * g.lda + step;
}

// Rows a power-of-two number of bytes apart fall into few cache sets; such a block of A moves to a padded copy.
bool rows_alias(const Problem& g, int64_t cols) { return !g.ta && g.lda % 256 == 0 && cols > g.body.nr; }

void copy_rows(const float* from, int64_t ld, int64_t rows, int64_t cols, float* to, int64_t ld_to) {
  for (int64_t i = 0; i < rows; ++i) std::copy_n(from + i * ld, cols, to + i * ld_to);
}

// op(B)[k0 .. k0+kc, n0 .. n0+nc) into strips; the strips are shared out when there are many.
void pack_b(const Problem& g, int64_t k0, int64_t kc, int64_t n0, int64_t nc, float* packed) {
  const int64_t nr = g.body.nr;
  const int64_t grain = std::max<int64_t>(1, 32768 / (std::max<int64_t>(kc, 1) * nr)) * nr;
  parallel_for(0, nc, grain, [&](int64_t lo, int64_t hi) {
    float* to = packed + lo * kc;
    if (g.tb)
      g.body.pack_transposed(g.b + (n0 + lo) * g.ldb + k0, g.ldb, hi - lo, kc, to);
    else
      g.body.pack(g.b + k0 * g.ldb + n0 + lo, g.ldb, hi - lo, kc, to);
  });
}

GemmBlock<float> block_of(const Problem& g, bool first, bool last) {
  GemmBlock<float> block;
  block.row_a = g.ta ? 1 : g.lda;
  block.col_a = g.ta ? g.lda : 1;
  block.ldc = g.ldc;
  block.alpha = g.alpha;
  block.beta = first ? g.beta : 1;
  block.bias = last ? g.bias : nullptr;
  block.relu = last && g.relu;
  return block;
}

// B in place: few rows use each element of B, so that packing it would cost more than it saves.
void direct(const Problem& g) {
  const int64_t depth = std::max<int64_t>(g.k, 1);
  int64_t width = ceil_div(ceil_div(g.n, kUnits), g.body.nr) * g.body.nr;
  if (g.m * g.n * depth < kSmall) width = std::max<int64_t>(g.n, 1);
  parallel_for(0, g.n, width, [&](int64_t lo, int64_t hi) {
    for (int64_t k0 = 0; k0 < depth; k0 += kDepth) {
      const int64_t kc = std::min(kDepth, g.k - k0);
      GemmBlock<float> block = block_of(g, k0 == 0, k0 + kDepth >= g.k);
      block.m = g.m, block.n = hi - lo, block.k = kc;
      block.a = a_at(g, 0, k0);
      block.b = g.b + k0 * g.ldb + lo, block.row_b = g.ldb, block.strip_b = g.body.nr;
      block.c = g.c + lo;
      if (block.bias != nullptr) block.bias += lo;
      g.body.block(block);
    }
  });
}

void packed(const Problem& g) {
  const int64_t nr = g.body.nr, depth = std::max<int64_t>(g.k, 1);
  const int64_t rows = 4 * g.body.mr;
  for (int64_t n0 = 0; n0 < g.n; n0 += kWidth) {
    const int64_t nc = std::min(kWidth, g.n - n0);
    float* strips = scratch(0, packed_size(g.body, nc, std::min(kDepth, g.k)));
    const int64_t row_units = ceil_div(g.m, rows);
    const int64_t split = row_units >= kUnits || g.m * nc * depth < kSmall ? 1 : ceil_div(kUnits, row_units);
    const int64_t width = ceil_div(ceil_div(nc, split), nr) * nr;
    const int64_t col_units = ceil_div(nc, width), units = row_units * col_units;
    for (int64_t k0 = 0; k0 < depth; k0 += kDepth) {
      const int64_t kc = std::min(kDepth, g.k - k0);
      pack_b(g, k0, kc, n0, nc, strips);
      const int64_t grain = g.m * nc * depth < kSmall ? units : 1;
      parallel_for(0, units, grain, [&](int64_t lo, int64_t hi) {
        for (int64_t unit = lo; unit < hi; ++unit) {
          const int64_t i = unit / col_units * rows, j = unit % col_units * width;
          GemmBlock<float> block = block_of(g, k0 == 0, k0 + kDepth >= g.k);
          block.m = std::min(rows, g.m - i), block.n = std::min(width, nc - j), block.k = kc;
          block.a = a_at(g, i, k0);
          if (rows_alias(g, block.n)) {
            float* copy = scratch(1, rows * (kDepth + 16));
            copy_rows(block.a, g.lda, block.m, kc, copy, kc + 16);
            block.a = copy, block.row_a = kc + 16;
          }
          block.b = strips + j * kc, block.row_b = nr, block.strip_b = nr * kc, block.packed = true;
          block.c = g.c + i * g.ldc + n0 + j;
          if (block.bias != nullptr) block.bias += n0 + j;
          g.body.block(block);
        }
      });
    }
  }
}

// A long k and a small C (a weight gradient): pieces of k, each into a C of its own, then added in order.
void split_depth(const Problem& g, int64_t pieces) {
  const int64_t size = g.m * g.n, length = ceil_div(ceil_div(g.k, pieces), 16) * 16;
  pieces = ceil_div(g.k, length);
  float* partial = scratch(2, pieces * size);
  parallel_for(0, pieces, 1, [&](int64_t piece, int64_t) {
    Problem p = g;
    const int64_t k0 = piece * length;
    p.k = std::min(length, g.k - k0);
    p.a = a_at(g, 0, k0);
    p.b = g.tb ? g.b + k0 : g.b + k0 * g.ldb;
    p.alpha = 1, p.beta = 0, p.bias = nullptr, p.relu = false;
    p.c = partial + piece * size, p.ldc = g.n;
    p.tb || p.m > 2 * g.body.mr ? packed(p) : direct(p);
  });
  parallel_for(0, g.m, std::max<int64_t>(1, 16384 / g.n), [&](int64_t lo, int64_t hi) {
    float* first = partial + lo * g.n;
    const int64_t count = (hi - lo) * g.n;
    for (int64_t piece = 1; piece < pieces; ++piece)
      for (int64_t i = 0; i < count; ++i) first[i] += first[piece * size + i];
    for (int64_t i = lo; i < hi; ++i) {
      const float* from = partial + i * g.n;
      float* to = g.c + i * g.ldc;
      for (int64_t j = 0; j < g.n; ++j) {
        float y = g.alpha * from[j];
        if (g.beta != 0) y += g.beta * to[j];
        if (g.bias != nullptr) y += g.bias[j];
        to[j] = g.relu && y < 0 ? 0.0f : y;
      }
    }
  });
}

}  // namespace

void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda, const float* b,
          int64_t ldb, float beta, float* c, int64_t ldc, const float* bias, bool relu) {
  if (m <= 0 || n <= 0) return;
  const Problem g{
      gemm_body<float>(), ta, tb, m, n, std::max<int64_t>(k, 0), alpha, a, lda, b, ldb, beta, c, ldc, bias, relu};
  const int64_t tiles = ceil_div(m, 4 * g.body.mr) * ceil_div(n, 4 * g.body.nr);
  const int64_t pieces = std::min<int64_t>(kUnits, k / 512);
  if (tiles < kUnits && pieces >= 4 && m * n * pieces <= (1 << 23)) return split_depth(g, pieces);
  if (!tb && m <= 2 * g.body.mr) return direct(g);
  packed(g);
}

}  // namespace tt::kernels
