#pragma once
// The walk that all losses over the pairs of a batch share: super-panels of rows, each first by row chunks (scores, the
// loss, du), then by column chunks (dv). A super-panel's rows are added to dv in one fixed order, so no thread needs a
// dv of its own. A loss is a functor that sees one row of scores at a time:
//
//   struct Loss {
//     T score_scale() const;   // a row holds score_scale * dot_ij
//     // Turns a row [m] into what block() wants. anchor: the row's dots of u0 and v0, its to change, or null.
//     void prepare(int64_t i, T* row, T* anchor, double* state) const;
//     // Turns columns j .. j + n, which begin at `row`, into unnormalised weights g; du is made from them while they
//     // are in cache.
//     void block(int64_t i, T* row, int64_t j, int64_t n, double* state) const;
//     // The loss, and the factor that makes factor * g_ij the gradient of the row's loss to s_ij = inv_tau dot_ij.
//     PanelRow<T> finish(int64_t i, const double* state) const;
//   };
//
// `state` is four doubles that a row keeps from call to call.

#include <twotower/tensor/kernels/gemm/gemm_body.h>
#include <twotower/tensor/kernels/in_batch/in_batch.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace tt::kernels {

inline constexpr int64_t kPanelScores = 4 << 20;  // of a super-panel: 16 MB of float

// target_weight (already scaled like g) is subtracted from column `target`, unless that is < 0, and weights[k] from
// each of `count` columns targets[k].
template <class T>
struct PanelRow {
  double loss, factor = 1, target_weight = 0;
  int64_t target = -1;
  const int32_t* targets = nullptr;
  const T* weights = nullptr;
  int64_t count = 0;
};

template <class T>
struct Pairs {
  int64_t b, m, d;
  const T *u, *v;  // [B, D], [M, D]
  T inv_tau;
  const T *u0 = nullptr, *v0 = nullptr;  // vectors of a frozen model, or null: as u and v
};

// Sets the listed columns of `row` to -inf.
template <class T>
void exclude(const Exclusions& e, int64_t i, T* row) {
  if (e.offsets == nullptr) return;
  for (int64_t k = e.offsets[i]; k < e.offsets[i + 1]; ++k) row[e.cols[k]] = -std::numeric_limits<T>::infinity();
}

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// From row to row of the scores: a line more than a power of two, so that rows do not share cache sets.
inline int64_t panel_stride(int64_t m) { return round_up(m, 16) + 16; }

// Rows of the batch that one thread takes at a time, and that make a super-panel.
template <class T>
int64_t panel_chunk() {
  const int64_t mr = gemm_body<T>().mr;
  return mr >= 14 ? 2 * mr : 4 * mr;
}
template <class T>
int64_t super_panel_rows(int64_t b, int64_t m, bool anchored) {
  const int64_t chunk = panel_chunk<T>(), most = kPanelScores / (anchored ? 2 : 1) / panel_stride(m) / chunk;
  return std::min(round_up(b, chunk), std::max<int64_t>(4, most) * chunk);
}

template <class T, class Loss>
class PanelWalk {
 public:
  // weight: [B] or null; each: [B], receives the rows' losses, or null; grads: null for the value alone.
  PanelWalk(const Pairs<T>& pairs, const Loss& loss, const T* weight, T* each, const InBatchGrads<T>* grads)
      : pairs_(pairs),
        loss_(loss),
        weight_(weight),
        each_(each),
        grads_(grads),
        stride_(panel_stride(pairs.m)),
        rows_(super_panel_rows<T>(pairs.b, pairs.m, pairs.u0 != nullptr)) {}

  double run();  // mean_i weight_i * loss_i

 private:
  static constexpr int64_t kColumns = 512;  // of a row chunk between the weights and du
  static constexpr int64_t kDepth = 256;    // rows of a super-panel at a time in dv

  void pack(const T* v, T* packed) const;
  void make_scores(const T* u, int64_t lo, int64_t n, T scale, const T* packed, T* local, T* panel) const;
  void row_chunk(int64_t first, int64_t lo, int64_t hi) const;
  void finish_row(int64_t first, int64_t i, T* row, T* du, const double* state) const;
  void column_chunk(int64_t first, int64_t count, int64_t lo, int64_t hi) const;

  const Pairs<T> pairs_;
  const Loss& loss_;
  const T* weight_;
  T* each_;
  const InBatchGrads<T>* grads_;

  const GemmTable<T>& gemm_ = gemm_body<T>();
  const int64_t chunk_ = panel_chunk<T>(), stride_, rows_;
  T *scores_ = nullptr, *anchors_ = nullptr;      // [rows, stride_]: scores, and dots of u0 and v0
  T *packed_v_ = nullptr, *packed_v0_ = nullptr;  // their transposes in strips
  T* scaled_u_ = nullptr;                         // [rows, d]: factor_i * inv_tau * u_i, what dv needs
  double* losses_ = nullptr;                      // [b] weight_i * loss_i
  double* slopes_ = nullptr;                      // [b] d loss / d inv_tau by row
};

template <class T, class Loss>
void PanelWalk<T, Loss>::pack(const T* v, T* packed) const {
  parallel_for(0, pairs_.m, std::max<int64_t>(1, 16384 / (std::max<int64_t>(pairs_.d, 1) * gemm_.nr)) * gemm_.nr,
               [&](int64_t lo, int64_t hi) {
                 gemm_.pack_transposed(v + lo * pairs_.d, pairs_.d, hi - lo, pairs_.d, packed + lo * pairs_.d);
               });
}

// panel [n, m] = scale * u[lo .. lo + n) v^T; local: [n, d] of scratch.
template <class T, class Loss>
void PanelWalk<T, Loss>::make_scores(const T* u, int64_t lo, int64_t n, T scale, const T* packed, T* local,
                                     T* panel) const {
  for (int64_t x = 0; x < n * pairs_.d; ++x) local[x] = scale * u[lo * pairs_.d + x];
  GemmBlock<T> s;
  s.m = n, s.n = pairs_.m, s.k = pairs_.d;
  s.a = local, s.row_a = pairs_.d;
  s.b = packed, s.row_b = gemm_.nr, s.strip_b = gemm_.nr * pairs_.d, s.packed = true;
  s.c = panel, s.ldc = stride_;
  gemm_.block(s);
}

// Rows lo..hi of the batch, in the super-panel that starts at row `first`.
template <class T, class Loss>
void PanelWalk<T, Loss>::row_chunk(int64_t first, int64_t lo, int64_t hi) const {
  const int64_t n = hi - lo, d = pairs_.d;
  auto* local = static_cast<T*>(thread_scratch(
      1, static_cast<std::size_t>(2 * chunk_ * d) * sizeof(T) + static_cast<std::size_t>(chunk_) * 4 * sizeof(double)));
  T* du = local + chunk_ * d;                                       // [n, d] sum_j g_ij v_j
  auto* state = reinterpret_cast<double*>(local + 2 * chunk_ * d);  // [n, 4]
  T *panel = scores_ + (lo - first) * stride_,
    *anchor = pairs_.u0 == nullptr ? nullptr : anchors_ + (lo - first) * stride_;
  make_scores(pairs_.u, lo, n, loss_.score_scale(), packed_v_, local, panel);
  if (anchor != nullptr) make_scores(pairs_.u0, lo, n, 1, packed_v0_, local, anchor);
  for (int64_t r = 0; r < n; ++r)
    loss_.prepare(lo + r, panel + r * stride_, anchor == nullptr ? nullptr : anchor + r * stride_, state + 4 * r);

  GemmBlock<T> g;
  g.m = n, g.n = d;
  g.row_a = stride_, g.row_b = d, g.strip_b = gemm_.nr;
  g.c = du, g.ldc = d;
  for (int64_t j = 0; j < pairs_.m; j += kColumns) {
    g.k = std::min(kColumns, pairs_.m - j);
    for (int64_t r = 0; r < n; ++r) loss_.block(lo + r, panel + r * stride_ + j, j, g.k, state + 4 * r);
    if (grads_ == nullptr) continue;
    g.a = panel + j, g.b = pairs_.v + j * d, g.beta = j > 0 ? 1 : 0;
    gemm_.block(g);
  }
  for (int64_t r = 0; r < n; ++r) finish_row(first, lo + r, panel + r * stride_, du + r * d, state + 4 * r);
}

template <class T, class Loss>
void PanelWalk<T, Loss>::finish_row(int64_t first, int64_t i, T* row, T* du, const double* state) const {
  const PanelRow<T> f = loss_.finish(i, state);
  const int64_t d = pairs_.d;
  const double w = weight_ == nullptr ? 1.0 : static_cast<double>(weight_[i]);
  losses_[i] = w * f.loss;
  if (each_ != nullptr) each_[i] = static_cast<T>(f.loss);
  if (grads_ == nullptr) return;
  const auto factor = static_cast<T>(w / static_cast<double>(pairs_.b) * f.factor);
  const T* ui = pairs_.u + i * d;
  const auto down = static_cast<T>(f.target_weight);
  const T* vt = f.target < 0 ? nullptr : pairs_.v + f.target * d;
  if (f.target >= 0) row[f.target] -= down;
  for (int64_t k = 0; k < f.count; ++k) {
    row[f.targets[k]] -= f.weights[k];
    const T* vk = pairs_.v + f.targets[k] * d;
    for (int64_t x = 0; x < d; ++x) du[x] -= f.weights[k] * vk[x];
  }
  double along = 0;
  for (int64_t x = 0; x < d; ++x) {
    const T y = factor * (vt == nullptr ? du[x] : du[x] - down * vt[x]);
    along += static_cast<double>(ui[x]) * static_cast<double>(y);
    scaled_u_[(i - first) * d + x] = factor * pairs_.inv_tau * ui[x];
    if (grads_->du != nullptr) grads_->du[i * d + x] = pairs_.inv_tau * y;
  }
  slopes_[i] = along;
}

// dv[lo..hi) += scores[:, lo..hi)^T scaled_u_
template <class T, class Loss>
void PanelWalk<T, Loss>::column_chunk(int64_t first, int64_t count, int64_t lo, int64_t hi) const {
  GemmBlock<T> g;
  g.m = hi - lo, g.n = pairs_.d;
  g.row_a = 1, g.col_a = stride_, g.row_b = pairs_.d, g.strip_b = gemm_.nr;
  g.c = grads_->dv + lo * pairs_.d, g.ldc = pairs_.d;
  for (int64_t k = 0; k < count; k += kDepth) {
    g.k = std::min(kDepth, count - k);
    g.a = scores_ + k * stride_ + lo, g.b = scaled_u_ + k * pairs_.d;
    g.beta = first + k > 0 ? 1 : 0;
    gemm_.block(g);
  }
}

template <class T, class Loss>
double PanelWalk<T, Loss>::run() {
  if (pairs_.b <= 0) {
    if (grads_ != nullptr && grads_->dv != nullptr) std::fill_n(grads_->dv, pairs_.m * pairs_.d, T(0));
    if (grads_ != nullptr && grads_->d_inv_tau != nullptr) *grads_->d_inv_tau = 0;
    return 0;
  }
  const bool anchored = pairs_.u0 != nullptr;
  const int64_t size_v = round_up(packed_size(gemm_, pairs_.m, pairs_.d), 16), size_u = round_up(rows_ * pairs_.d, 16);
  const int64_t size_s = rows_ * stride_, size_0 = anchored ? size_v + size_s : 0;
  auto* memory =
      static_cast<T*>(thread_scratch(0, static_cast<std::size_t>(size_v + size_u + size_s + size_0) * sizeof(T) +
                                            static_cast<std::size_t>(pairs_.b) * 2 * sizeof(double)));
  packed_v_ = memory, scaled_u_ = memory + size_v, scores_ = scaled_u_ + size_u;
  packed_v0_ = scores_ + size_s, anchors_ = packed_v0_ + size_v;
  losses_ = reinterpret_cast<double*>(scores_ + size_s + size_0), slopes_ = losses_ + pairs_.b;

  pack(pairs_.v, packed_v_);
  if (anchored) pack(pairs_.v0, packed_v0_);
  for (int64_t first = 0; first < pairs_.b; first += rows_) {
    const int64_t last = std::min(first + rows_, pairs_.b);
    parallel_for(first, last, chunk_, [&](int64_t lo, int64_t hi) { row_chunk(first, lo, hi); });
    if (grads_ == nullptr || grads_->dv == nullptr) continue;
    parallel_for(0, pairs_.m, 4 * gemm_.mr, [&](int64_t lo, int64_t hi) { column_chunk(first, last - first, lo, hi); });
  }

  double total = 0, along = 0;
  for (int64_t i = 0; i < pairs_.b; ++i) total += losses_[i];
  if (grads_ != nullptr && grads_->d_inv_tau != nullptr) {
    for (int64_t i = 0; i < pairs_.b; ++i) along += slopes_[i];
    *grads_->d_inv_tau = along;
  }
  return total / static_cast<double>(pairs_.b);
}

}  // namespace tt::kernels
