#include "autograd/ops/retrieval_losses.h"

#include <cmath>
#include <limits>

#include "tensor/gemm.h"
#include "tensor/kernels/in_batch/in_batch.h"
#include "tensor/parallel.h"

namespace tt {
namespace {

const Op kInBatch("in_batch_softmax"), kScores("candidate_scores"), kKl("alignment_kl"), kReward("alignment_reward"),
    kDpo("alignment_dpo");

template <class T>
constexpr T kMinusInf = -std::numeric_limits<T>::infinity();

constexpr int64_t kPanelRows = 64;

void check_sizes(const Op& op, const Shape& u, const Shape& v) {
  check(u.rank() == 2 && v.rank() == 2 && u[1] == v[1], op.name, "user vectors ", u, " and item vectors ", v,
        " must have the same width");
}

// A column that does not exist would be written outside its row.
void check_exclusions(const Op& op, const Exclusions& exclude, int64_t rows, int64_t columns) {
  if (exclude.offsets.numel() == 0) return;
  check(exclude.offsets.numel() == rows + 1, op.name, "exclusions for ", exclude.offsets.numel() - 1, " rows, the batch has ", rows);
  for (int64_t k = 0; k < exclude.offsets[rows]; ++k)
    check(exclude.columns[k] >= 0 && exclude.columns[k] < columns, op.name, "excluded column ", exclude.columns[k],
          "; the columns are 0 to ", columns - 1);
}

template <class T>
void check_positives(const Op& op, const Candidates<T>& c, int64_t rows, int64_t columns) {
  const Positives& p = c.positives;
  if (p.offsets.numel() == 0) return;
  check(p.offsets.numel() == rows + 1, op.name, "positives for ", p.offsets.numel() - 1, " rows, the batch has ", rows);
  check(!c.target && c.exclude.offsets.numel() == 0 && c.hard_negatives == 0 && !c.positive_uncorrected, op.name,
        "rows with several positives take no targets, exclusions, hard negatives or uncorrected positives");
  for (int64_t i = 0; i < rows; ++i)
    check(p.offsets[i] < p.offsets[i + 1], op.name, "row ", i, " has no positive column");
  for (int64_t k = 0; k < p.offsets[rows]; ++k)
    check(p.columns[k] >= 0 && p.columns[k] < columns, op.name, "positive column ", p.columns[k],
          "; the columns are 0 to ", columns - 1);
}

// The shape of all four losses: for each row i, a function of its dots with all columns gives the row's loss and
// replaces the dots by dL_i/ds_ij; the driver turns those into du, dv and dtau.
template <class T>
struct ScoreGradients {
  Tensor<T> du, dv;  // [B, D], [M, D]: for dL = 1
  T dtau = 0;
};

template <class T>
struct RowResult {
  T loss, dtau;  // the row's loss, and sum_j dL/ds_ij * d s_ij/d tau
};

// row(i, dots, anchor_dots) -> RowResult; dots: [M] becomes dL/d dot_ij. anchor may be null.
template <class T, class Row>
T for_each_row(Tensor<T> u, Tensor<T> v, const Anchor<T>* anchor, ScoreGradients<T>* grads, Arena& arena, Row row) {
  const int64_t b = u.rows(), m = v.rows(), d = u.cols();
  const Tensor<T> dots = make_tensor<T>(arena, {std::min(kPanelRows, b), m});
  const Tensor<T> anchor_dots = anchor ? make_tensor<T>(arena, dots.shape()) : Tensor<T>();
  const Tensor<T> losses = make_tensor<T>(arena, {b}), dtaus = make_tensor<T>(arena, {b});
  for (int64_t begin = 0; begin < b; begin += kPanelRows) {
    const int64_t rows = std::min(kPanelRows, b - begin);
    gemm<T>(false, true, rows, m, d, 1, u.row(begin), d, v.data(), d, 0, dots.data(), m);
    if (anchor)
      gemm<T>(false, true, rows, m, d, 1, anchor->u.row(begin), d, anchor->v.data(), d, 0, anchor_dots.data(), m);
    parallel_for(0, rows, 4, [&](int64_t lo, int64_t hi) {
      for (int64_t r = lo; r < hi; ++r) {
        const RowResult<T> result = row(begin + r, dots.row(r), anchor ? anchor_dots.row(r) : nullptr);
        losses[begin + r] = result.loss;
        dtaus[begin + r] = result.dtau;
      }
    });
    if (!grads) continue;
    gemm<T>(false, false, rows, d, m, 1, dots.data(), m, v.data(), d, 0, grads->du.row(begin), d);
    gemm<T>(true, false, m, d, rows, 1, dots.data(), m, u.row(begin), d, begin > 0, grads->dv.data(), d);
  }
  T total = 0;
  for (int64_t i = 0; i < b; ++i) {
    total += losses[i];
    if (grads) grads->dtau += dtaus[i];
  }
  return total;
}

// Gradients are made with the value (the scores are at hand then) and only scaled when the upstream gradient comes.
template <class T>
ScoreGradients<T>* make_gradients(Tape<T>& tape, Variable<T> u, Variable<T> v, Variable<T> tau) {
  if (!tape.recording() || !(u.requires_grad() || v.requires_grad() || tau.requires_grad())) return nullptr;
  auto* g = new (tape.arena().raw(sizeof(ScoreGradients<T>))) ScoreGradients<T>;
  g->du = tape.make(u.shape());
  g->dv = tape.make(v.shape());
  return g;
}

template <class T>
void push(Variable<T> x, Tensor<T> share, T upstream) {
  if (!x.requires_grad()) return;
  const GradTarget<T> dx = x.grad_target();
  parallel_for(0, share.numel(), 32768, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) dx.data[i] = (dx.add ? dx.data[i] : T(0)) + upstream * share[i];
  });
}

template <class T>
void push(Variable<T> u, Variable<T> v, Variable<T> tau, const ScoreGradients<T>* g, T upstream) {
  push(u, g->du, upstream);
  push(v, g->dv, upstream);
  if (tau.requires_grad()) tau.grad_to_add()[0] += upstream * g->dtau;
}

// p = softmax(p) in place, entries of -inf become 0; returns log of the sum of exponentials.
template <class T>
T softmax(T* p, int64_t n) {
  const T top = *std::max_element(p, p + n);
  if (top == kMinusInf<T>) {
    std::fill_n(p, n, T(0));
    return kMinusInf<T>;
  }
  T total = 0;
  for (int64_t j = 0; j < n; ++j) total += p[j] = std::exp(p[j] - top);
  const T inverse = 1 / total;
  for (int64_t j = 0; j < n; ++j) p[j] *= inverse;
  return top + std::log(total);
}

template <class T>
void exclude_columns(const Exclusions& exclude, int64_t row, T* s, int64_t keep = -1) {
  if (exclude.offsets.numel() == 0) return;
  for (int64_t k = exclude.offsets[row]; k < exclude.offsets[row + 1]; ++k)
    if (exclude.columns[k] != keep) s[exclude.columns[k]] = kMinusInf<T>;
}

// Leaves only the `count` highest negatives of s; ties go to the lower column. scratch: [n].
template <class T>
void keep_hardest(T* s, int64_t n, int64_t target, int64_t count, T* scratch) {
  int64_t negatives = 0;
  for (int64_t j = 0; j < n; ++j)
    if (j != target && s[j] > kMinusInf<T>) scratch[negatives++] = s[j];
  if (negatives <= count) return;
  std::nth_element(scratch, scratch + count - 1, scratch + negatives, std::greater<T>());
  const T threshold = scratch[count - 1];
  int64_t above = 0;
  for (int64_t j = 0; j < n; ++j) above += j != target && s[j] > threshold;
  int64_t at_threshold = count - above;
  for (int64_t j = 0; j < n; ++j) {
    if (j == target || s[j] > threshold) continue;
    if (s[j] == threshold && at_threshold > 0) --at_threshold;
    else s[j] = kMinusInf<T>;
  }
}

// dots -> s, in place.
template <class T>
void to_scores(T* dots, int64_t row, int64_t m, T inv_tau, const Candidates<T>& c, int64_t target, T* scratch) {
  const T own = dots[target] * inv_tau;
  for (int64_t j = 0; j < m; ++j) dots[j] = dots[j] * inv_tau - (c.log_q ? c.log_q[j] : T(0));
  if (c.positive_uncorrected) dots[target] = own;
  exclude_columns(c.exclude, row, dots, target);
  if (c.hard_negatives > 0) keep_hardest(dots, m, target, c.hard_negatives, scratch);
}

template <class T>
int64_t target_of(const Candidates<T>& c, int64_t row) {
  return c.target ? c.target[row] : row;
}

template <class T>
T* row_scratch(int slot, int64_t n) {
  return static_cast<T*>(thread_scratch(slot, static_cast<size_t>(n) * sizeof(T)));
}

// d loss_i / d s -> d loss_i / d dot in place; returns d loss_i / d tau = -sum_j ds_ij dot_ij / tau^2.
template <class T>
T score_to_dot_gradient(T* ds, const T* dots, int64_t m, T tau) {
  T sum = 0;
  for (int64_t j = 0; j < m; ++j) {
    sum += ds[j] * dots[j];
    ds[j] /= tau;
  }
  return -sum / (tau * tau);
}

template <class T>
T softmax_loss(Tensor<T> u, Tensor<T> v, T tau, Tensor<T> weight, const Candidates<T>& c, Tensor<T> ce,
               ScoreGradients<T>* grads, Arena& arena) {
  const int64_t m = v.rows();
  const T share = T(1) / static_cast<T>(u.rows());
  if (c.positives.offsets.numel()) {
    return for_each_row(u, v, static_cast<const Anchor<T>*>(nullptr), grads, arena, [&](int64_t i, T* dots, const T*) {
      const int64_t lo = c.positives.offsets[i], hi = c.positives.offsets[i + 1];
      T* raw = row_scratch<T>(0, m);
      std::copy_n(dots, m, raw);
      for (int64_t j = 0; j < m; ++j) dots[j] = dots[j] / tau - (c.log_q ? c.log_q[j] : T(0));
      const T each = T(1) / static_cast<T>(hi - lo);
      const T top = *std::max_element(dots, dots + m);
      T sum = 0, factor = 0;  // of the exponentials; the mean over positives of 1 / their denominators
      T* own = row_scratch<T>(1, hi - lo);
      for (int64_t k = lo; k < hi; ++k) {
        T& s = dots[c.positives.columns[k]];
        own[k - lo] = s - top;
        if (!c.positives.compete) s = kMinusInf<T>;
      }
      for (int64_t j = 0; j < m; ++j) sum += dots[j] = std::exp(dots[j] - top);
      ce[i] = 0;
      for (int64_t k = lo; k < hi; ++k) {
        const T e = c.positives.compete ? T(0) : std::exp(own[k - lo]);
        ce[i] += each * (std::log(sum + e) - own[k - lo]);
        factor += each / (sum + e);
        own[k - lo] = each * (e / (sum + e) - 1);
      }
      for (int64_t j = 0; j < m; ++j) dots[j] *= factor;
      for (int64_t k = lo; k < hi; ++k) dots[c.positives.columns[k]] += own[k - lo];
      for (int64_t j = 0; j < m; ++j) dots[j] *= weight[i] * share;
      return RowResult<T>{weight[i] * ce[i] * share, score_to_dot_gradient(dots, raw, m, tau)};
    });
  }
  return for_each_row(u, v, static_cast<const Anchor<T>*>(nullptr), grads, arena, [&](int64_t i, T* dots, const T*) {
    const int64_t target = target_of(c, i);
    T* raw = row_scratch<T>(0, m);
    std::copy_n(dots, m, raw);
    to_scores(dots, i, m, 1 / tau, c, target, row_scratch<T>(1, m));
    const T own = dots[target];
    ce[i] = softmax(dots, m) - own;
    dots[target] -= 1;
    for (int64_t j = 0; j < m; ++j) dots[j] *= weight[i] * share;
    return RowResult<T>{weight[i] * ce[i] * share, score_to_dot_gradient(dots, raw, m, tau)};
  });
}

// Float runs the SIMD kernel.
float softmax_loss(Tensor<float> u, Tensor<float> v, float tau, Tensor<float> weight, const Candidates<float>& c,
                   Tensor<float> ce, ScoreGradients<float>* grads, Arena& arena) {
  kernels::InBatchSoftmax in;
  in.b = u.rows(), in.m = v.rows(), in.d = u.cols(), in.u = u.data(), in.v = v.data(), in.inv_tau = 1 / tau;
  if (c.log_q) {
    const Tensor<float> bias = make_tensor<float>(arena, {in.m});
    for (int64_t j = 0; j < in.m; ++j) bias[j] = -c.log_q[j];
    in.col_bias = bias.data();
  }
  in.positive_uncorrected = c.positive_uncorrected, in.target = c.target.data(), in.hard_k = c.hard_negatives;
  if (c.exclude.offsets.numel()) in.exclude = {c.exclude.offsets.data(), c.exclude.columns.data()};
  if (c.positives.offsets.numel()) {
    const Positives& p = c.positives;
    in.positives = {p.offsets.data(), p.columns.data(), arena.allocate<float>(p.offsets[in.b]), p.compete};
  }
  in.weight = weight.data();
  double d_inv_tau = 0;
  kernels::InBatchGrads out;
  if (grads) out.du = grads->du.data(), out.dv = grads->dv.data(), out.d_inv_tau = &d_inv_tau;
  const double loss = kernels::in_batch_softmax(in, ce.data(), grads ? &out : nullptr);
  if (grads) grads->dtau = static_cast<float>(-d_inv_tau / (static_cast<double>(tau) * tau));
  return static_cast<float>(loss);
}

// value_ij of one row; excluded columns at -inf.
template <class T>
void row_values(const PairValue<T>& value, int64_t i, const T* dots, int64_t m, T* out) {
  for (int64_t j = 0; j < m; ++j) out[j] = value.column_value[j] + value.dot_value * dots[j];
  exclude_columns(value.exclude, i, out);
}

template <class T>
T kl_loss(Tensor<T> u, Tensor<T> v, T tau, const PairValue<T>& value, ScoreGradients<T>* grads, Arena& arena) {
  const int64_t m = v.rows();
  const T share = T(1) / static_cast<T>(u.rows());
  return for_each_row(u, v, static_cast<const Anchor<T>*>(nullptr), grads, arena, [&](int64_t i, T* dots, const T*) {
    T *raw = row_scratch<T>(0, m), *q = row_scratch<T>(1, m), *log_q = row_scratch<T>(2, m);
    std::copy_n(dots, m, raw);
    row_values(value, i, raw, m, log_q);
    std::copy_n(log_q, m, q);
    const T q_norm = softmax(q, m);
    for (int64_t j = 0; j < m; ++j) dots[j] /= tau;
    exclude_columns(value.exclude, i, dots);
    T* s = row_scratch<T>(3, m);
    std::copy_n(dots, m, s);
    const T p_norm = softmax(dots, m);
    T loss = 0;
    for (int64_t j = 0; j < m; ++j) {
      if (q[j] > 0) loss += q[j] * ((log_q[j] - q_norm) - (s[j] - p_norm));
      dots[j] = (dots[j] - q[j]) * share;
    }
    return RowResult<T>{loss * share, score_to_dot_gradient(dots, raw, m, tau)};
  });
}

float kl_loss(Tensor<float> u, Tensor<float> v, float tau, const PairValue<float>& value,
              ScoreGradients<float>* grads, Arena&) {
  kernels::InBatchKl in;
  in.b = u.rows(), in.m = v.rows(), in.d = u.cols(), in.u = u.data(), in.v = v.data(), in.inv_tau = 1 / tau;
  in.col_b = value.column_value.data(), in.c = value.dot_value;
  if (value.exclude.offsets.numel()) in.exclude = {value.exclude.offsets.data(), value.exclude.columns.data()};
  double d_inv_tau = 0;
  kernels::InBatchGrads out;
  if (grads) out.du = grads->du.data(), out.dv = grads->dv.data(), out.d_inv_tau = &d_inv_tau;
  const double loss = kernels::in_batch_kl(in, nullptr, grads ? &out : nullptr);
  if (grads) grads->dtau = static_cast<float>(-d_inv_tau / (static_cast<double>(tau) * tau));
  return static_cast<float>(loss);
}

}  // namespace

template <class T>
Variable<T> in_batch_softmax(Variable<T> u, Variable<T> v, Variable<T> tau, Variable<T> weight,
                             const Candidates<T>& candidates) {
  check_sizes(kInBatch, u.shape(), v.shape());
  const int64_t b = u.rows();
  check(weight.value().numel() == b, kInBatch.name, weight.value().numel(), " weights for ", b, " rows");
  check_positives(kInBatch, candidates, b, v.rows());
  check(b > 0 && (candidates.target || candidates.positives.offsets.numel() || v.rows() >= b), kInBatch.name, v.rows(), " item columns for ", b, " users");
  check_exclusions(kInBatch, candidates.exclude, b, v.rows());
  check(tau.item() > 0, kInBatch.name, "the temperature is ", tau.item(), "; it must be positive");
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> ce = tape.make({b}), y = tape.make({1});
  y[0] = softmax_loss(u.value(), v.value(), tau.item(), weight.value(), candidates, ce, grads, tape.arena());
  return tape.record(kInBatch, y, {u, v, tau, weight}, [=](const Tensor<T>& dout) {
    if (grads) push(u, v, tau, grads, dout[0]);
    if (weight.requires_grad()) {
      const Tensor<T> dw = weight.grad_to_add();
      for (int64_t i = 0; i < b; ++i) dw[i] += dout[0] * ce[i] / static_cast<T>(b);
    }
  });
}

template <class T>
Variable<T> candidate_scores(Variable<T> dots, Variable<T> tau, const Candidates<T>& candidates) {
  Tape<T>& tape = dots.tape();
  const int64_t b = dots.rows(), m = dots.cols();
  const Tensor<T> raw = dots.value(), y = tape.make(dots.shape());
  const T t = tau.item();
  const Tensor<T> scratch = tape.make({m});
  for (int64_t i = 0; i < b; ++i) {
    std::copy_n(raw.row(i), m, y.row(i));
    to_scores(y.row(i), i, m, 1 / t, candidates, target_of(candidates, i), scratch.data());
  }
  return tape.record(kScores, y, {dots, tau}, [=](const Tensor<T>& dout) {
    T dtau = 0;
    for (int64_t i = 0; i < dout.numel(); ++i) {
      if (y[i] == kMinusInf<T>) dout[i] = 0;
      dtau -= dout[i] * raw[i] / (t * t);
      dout[i] /= t;
    }
    push(dots, dout, T(1));
    if (tau.requires_grad()) tau.grad_to_add()[0] += dtau;
  });
}

template <class T>
Variable<T> alignment_kl(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value) {
  check_sizes(kKl, u.shape(), v.shape());
  check_exclusions(kKl, value.exclude, u.rows(), v.rows());
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> y = tape.make({1});
  y[0] = kl_loss(u.value(), v.value(), tau.item(), value, grads, tape.arena());
  return tape.record(kKl, y, {u, v, tau},
                     [=](const Tensor<T>& dout) { push(u, v, tau, grads, dout[0]); });
}

template <class T>
Variable<T> alignment_reward(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value,
                             const Anchor<T>& anchor, T beta) {
  check_sizes(kReward, u.shape(), v.shape());
  check_exclusions(kReward, value.exclude, u.rows(), v.rows());
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> y = tape.make({1});
  const int64_t m = v.rows();
  const T t = tau.item(), share = T(1) / static_cast<T>(u.rows());
  y[0] = for_each_row(u.value(), v.value(), &anchor, grads, tape.arena(), [&](int64_t i, T* dots, const T* dots0) {
    T *raw = row_scratch<T>(0, m), *gain = row_scratch<T>(1, m), *s0 = row_scratch<T>(2, m),
      *s = row_scratch<T>(3, m);
    std::copy_n(dots, m, raw);
    row_values(value, i, raw, m, gain);
    for (int64_t j = 0; j < m; ++j) {
      dots[j] = s[j] = gain[j] == kMinusInf<T> ? kMinusInf<T> : raw[j] / t;
      s0[j] = gain[j] == kMinusInf<T> ? kMinusInf<T> : dots0[j] / anchor.tau;
    }
    T* p0 = row_scratch<T>(4, m);
    std::copy_n(s0, m, p0);
    const T norm = softmax(dots, m), norm0 = softmax(p0, m);
    // J_i = sum_j pi_j A_j with A_j = value_j - beta (log pi_j - log pi0_j);  dJ_i/ds_j = pi_j (A_j - J_i)
    T objective = 0;
    for (int64_t j = 0; j < m; ++j) {
      if (dots[j] > 0) gain[j] -= beta * ((s[j] - norm) - (s0[j] - norm0));
      else gain[j] = 0;
      objective += dots[j] * gain[j];
    }
    for (int64_t j = 0; j < m; ++j) dots[j] *= -(gain[j] - objective) * share;
    return RowResult<T>{-objective * share, score_to_dot_gradient(dots, raw, m, t)};
  });
  return tape.record(kReward, y, {u, v, tau}, [=](const Tensor<T>& dout) { push(u, v, tau, grads, dout[0]); });
}

template <class T>
Variable<T> alignment_dpo(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value,
                          const Anchor<T>& anchor, T beta, int64_t strides) {
  check_sizes(kDpo, u.shape(), v.shape());
  check_exclusions(kDpo, value.exclude, u.rows(), v.rows());
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> y = tape.make({1});
  const int64_t m = v.rows();
  const T t = tau.item(), rows = static_cast<T>(u.rows());
  strides = std::min(strides, m - 1);
  y[0] = for_each_row(u.value(), v.value(), &anchor, grads, tape.arena(), [&](int64_t i, T* dots, const T* dots0) {
    T *raw = row_scratch<T>(0, m), *values = row_scratch<T>(1, m);
    std::copy_n(dots, m, raw);
    row_values(value, i, raw, m, values);
    std::fill_n(dots, m, T(0));
    T loss = 0;
    int64_t pairs = 0;
    for (int64_t stride = 1; stride <= strides; ++stride)
      for (int64_t a = 0; a < m; ++a) {
        const int64_t b = (a + stride) % m;
        if (values[a] == values[b] || std::min(values[a], values[b]) == kMinusInf<T>) continue;
        const int64_t j = values[a] > values[b] ? a : b, k = j == a ? b : a;
        const T margin = beta * ((raw[j] - raw[k]) / t - (dots0[j] - dots0[k]) / anchor.tau);
        loss += std::max(-margin, T(0)) + std::log1p(std::exp(-std::abs(margin)));
        const T slope = -beta / (1 + std::exp(margin));
        dots[j] += slope, dots[k] -= slope;
        ++pairs;
      }
    const T share = pairs ? 1 / (static_cast<T>(pairs) * rows) : T(0);
    for (int64_t j = 0; j < m; ++j) dots[j] *= share;
    return RowResult<T>{loss * share, score_to_dot_gradient(dots, raw, m, t)};
  });
  return tape.record(kDpo, y, {u, v, tau}, [=](const Tensor<T>& dout) { push(u, v, tau, grads, dout[0]); });
}

#define TT_INSTANTIATE(T)                                                                                       \
  template Variable<T> in_batch_softmax(Variable<T>, Variable<T>, Variable<T>, Variable<T>, const Candidates<T>&); \
  template Variable<T> candidate_scores(Variable<T>, Variable<T>, const Candidates<T>&);                        \
  template Variable<T> alignment_kl(Variable<T>, Variable<T>, Variable<T>, const PairValue<T>&);                \
  template Variable<T> alignment_reward(Variable<T>, Variable<T>, Variable<T>, const PairValue<T>&,             \
                                        const Anchor<T>&, T);                                                   \
  template Variable<T> alignment_dpo(Variable<T>, Variable<T>, Variable<T>, const PairValue<T>&,                \
                                     const Anchor<T>&, T, int64_t);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
