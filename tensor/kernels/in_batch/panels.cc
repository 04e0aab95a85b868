#include <twotower/tensor/kernels/in_batch/panels.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>

namespace tt::kernels::detail {
namespace {

constexpr int64_t kPanelFloats = 4 << 20;  // 16 MB of scores at once
constexpr int64_t kColumns = 512;          // of a row chunk between the exponentials and du
constexpr int64_t kDepth = 256;            // rows of a super-panel at a time in dv

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

struct Walk {
  const Panels& p;
  const GemmTable& gemm;
  const float* weight;
  float* out;
  int64_t chunk, rows, ld;  // rows of a chunk and of a super-panel; row stride of the scores
  float* scores;            // [rows, ld]
  float* packed_v;          // v^T in strips
  float* scaled_u;          // [rows, d]: factor_i * inv_tau * u_i, what dv needs
  double* loss;             // [b] weight_i * loss_i
  double* slope;            // [b] d loss / d inv_tau by row

  void row_chunk(int64_t first, int64_t lo, int64_t hi) const;
  void column_chunk(int64_t first, int64_t count, int64_t lo, int64_t hi) const;
};

// Rows lo..hi of the batch, in the super-panel that starts at row `first`.
void Walk::row_chunk(int64_t first, int64_t lo, int64_t hi) const {
  const int64_t n = hi - lo, d = p.d;
  auto* local = static_cast<float*>(thread_scratch(
      1, static_cast<std::size_t>(2 * chunk * d) * sizeof(float) + static_cast<std::size_t>(chunk) * 64));
  float* a = local;                                                // [n, d] score_scale * u
  float* du = local + chunk * d;                                   // [n, d] sum_j g_ij v_j
  auto* state = reinterpret_cast<double*>(local + 2 * chunk * d);  // [n, 4]
  float* panel = scores + (lo - first) * ld;
  for (int64_t x = 0; x < n * d; ++x) a[x] = p.score_scale * p.u[lo * d + x];

  GemmBlock s;
  s.m = n, s.n = p.m, s.k = d;
  s.a = a, s.row_a = d;
  s.b = packed_v, s.row_b = gemm.nr, s.strip_b = gemm.nr * d, s.packed = true;
  s.c = panel, s.ldc = ld;
  gemm.block(s);
  for (int64_t r = 0; r < n; ++r) p.prepare(p.context, lo + r, panel + r * ld, state + 4 * r);

  GemmBlock g;
  g.m = n, g.n = d;
  g.row_a = ld, g.row_b = d, g.strip_b = gemm.nr;
  g.c = du, g.ldc = d;
  for (int64_t j = 0; j < p.m; j += kColumns) {
    g.k = std::min(kColumns, p.m - j);
    for (int64_t r = 0; r < n; ++r) p.block(p.context, lo + r, panel + r * ld + j, j, g.k, state + 4 * r);
    if (p.grads == nullptr) continue;
    g.a = panel + j, g.b = p.v + j * d, g.beta = j > 0 ? 1 : 0;
    gemm.block(g);
  }

  for (int64_t r = 0; r < n; ++r) {
    const int64_t i = lo + r;
    float* row = panel + r * ld;
    const Panels::Finish f = p.finish(p.context, i, row, state + 4 * r);
    const double w = weight == nullptr ? 1.0 : static_cast<double>(weight[i]);
    loss[i] = w * f.loss;
    if (out != nullptr) out[i] = static_cast<float>(f.loss);
    if (p.grads == nullptr) continue;
    const auto factor = static_cast<float>(w / static_cast<double>(p.b) * p.grads->scale * f.factor);
    const float* ui = p.u + i * d;
    const auto down = static_cast<float>(f.target_weight);
    const float* vt = f.target < 0 ? nullptr : p.v + f.target * d;
    if (f.target >= 0) row[f.target] -= down;
    for (int64_t k = 0; k < f.count; ++k) {
      row[f.targets[k]] -= f.weights[k];
      const float* vk = p.v + f.targets[k] * d;
      for (int64_t x = 0; x < d; ++x) du[r * d + x] -= f.weights[k] * vk[x];
    }
    double along = 0;
    for (int64_t x = 0; x < d; ++x) {
      const float y = factor * (vt == nullptr ? du[r * d + x] : du[r * d + x] - down * vt[x]);
      along += static_cast<double>(ui[x]) * static_cast<double>(y);
      scaled_u[(i - first) * d + x] = factor * p.inv_tau * ui[x];
      if (p.grads->du == nullptr) continue;
      float& to = p.grads->du[i * d + x];
      to = p.grads->accumulate ? to + p.inv_tau * y : p.inv_tau * y;
    }
    slope[i] = along;
  }
}

// dv[lo..hi) += scores[:, lo..hi)^T scaled_u
void Walk::column_chunk(int64_t first, int64_t count, int64_t lo, int64_t hi) const {
  GemmBlock g;
  g.m = hi - lo, g.n = p.d;
  g.row_a = 1, g.col_a = ld, g.row_b = p.d, g.strip_b = gemm.nr;
  g.c = p.grads->dv + lo * p.d, g.ldc = p.d;
  for (int64_t k = 0; k < count; k += kDepth) {
    g.k = std::min(kDepth, count - k);
    g.a = scores + k * ld + lo, g.b = scaled_u + k * p.d;
    g.beta = first + k > 0 || p.grads->accumulate ? 1 : 0;
    gemm.block(g);
  }
}

}  // namespace

double run_panels(const Panels& p, const float* weight, float* out) {
  const GemmTable& gemm = gemm_body();
  Walk w{p, gemm, weight, out, 0, 0, 0, nullptr, nullptr, nullptr, nullptr, nullptr};
  w.chunk = gemm.mr >= 14 ? 2 * gemm.mr : 4 * gemm.mr;
  w.ld = round_up(p.m, 16) + 16;  // a line more than a power of two: rows must not share cache sets
  w.rows = std::min(round_up(p.b, w.chunk), std::max<int64_t>(4, kPanelFloats / w.ld / w.chunk) * w.chunk);
  const int64_t size_v = round_up(packed_size(gemm, p.m, p.d), 16), size_u = round_up(w.rows * p.d, 16);
  const int64_t size_s = w.rows * w.ld;
  auto* memory = static_cast<float*>(thread_scratch(
      0, static_cast<std::size_t>(size_v + size_u + size_s) * sizeof(float) + static_cast<std::size_t>(p.b) * 16));
  w.packed_v = memory, w.scaled_u = memory + size_v, w.scores = w.scaled_u + size_u;
  w.loss = reinterpret_cast<double*>(w.scores + size_s), w.slope = w.loss + p.b;

  parallel_for(0, p.m, std::max<int64_t>(1, 16384 / (p.d * gemm.nr)) * gemm.nr, [&](int64_t lo, int64_t hi) {
    gemm.pack_transposed(p.v + lo * p.d, p.d, hi - lo, p.d, w.packed_v + lo * p.d);
  });
  for (int64_t first = 0; first < p.b; first += w.rows) {
    const int64_t last = std::min(first + w.rows, p.b);
    parallel_for(first, last, w.chunk, [&](int64_t lo, int64_t hi) { w.row_chunk(first, lo, hi); });
    if (p.grads == nullptr || p.grads->dv == nullptr) continue;
    parallel_for(0, p.m, 4 * gemm.mr, [&](int64_t lo, int64_t hi) { w.column_chunk(first, last - first, lo, hi); });
  }

  double loss = 0, slope = 0;
  for (int64_t i = 0; i < p.b; ++i) loss += w.loss[i];
  if (p.grads != nullptr && p.grads->d_inv_tau != nullptr) {
    for (int64_t i = 0; i < p.b; ++i) slope += w.slope[i];
    *p.grads->d_inv_tau = p.grads->accumulate ? *p.grads->d_inv_tau + slope : slope;
  }
  return loss / static_cast<double>(p.b);
}

}  // namespace tt::kernels::detail
