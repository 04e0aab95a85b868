#include <twotower/autograd/ops/losses/alignment_losses.h>
#include <twotower/autograd/ops/losses/pair_rows.h>
#include <twotower/tensor/kernels/in_batch/panels.h>
#include <twotower/tensor/kernels/softmax/softmax.h>

#include <algorithm>
#include <cmath>

namespace tt {
namespace {

using namespace pair_rows;

const Op kKl("alignment_kl"), kReward("alignment_reward"), kDpo("alignment_dpo");

template <class T>
void check_value(const Op& op, const Variable<T>& tau, const PairValue<T>& value, int64_t rows, int64_t columns) {
  check_temperature(op, tau);
  check(value.column_value.numel() == columns, op.name, "column_value has ", value.column_value.numel(),
        " entries for ", columns, " columns");
  check_exclusions(op, value.exclude, rows, columns);
}

template <class T>
void check_anchor(const Op& op, const Anchor<T>& anchor, const Shape& u, const Shape& v) {
  check(anchor.u.shape() == u && anchor.v.shape() == v, op.name, "the anchor has users ", anchor.u.shape(),
        " and items ", anchor.v.shape(), ", the batch ", u, " and ", v);
  check(anchor.tau > 0, op.name, "the anchor's temperature is ", anchor.tau, "; it must be positive");
}

// value_ij of one row; excluded columns at -inf.
template <class T>
void row_values(const PairValue<T>& value, int64_t i, const T* dots, int64_t m, T* out) {
  for (int64_t j = 0; j < m; ++j) out[j] = value.column_value[j] + value.dot_value * dots[j];
  kernels::exclude(kernel_exclusions(value.exclude), i, out);
}

// Slot 3 of the thread's scratch: the walk over panels holds 0 and 1.
template <class T>
T* row_scratch(int64_t n) {
  return static_cast<T*>(thread_scratch(3, static_cast<size_t>(n) * sizeof(T)));
}

// What the losses against an anchor share: rows hold dots, and prepare() does all there is to do.
template <class T>
struct AnchoredRows {
  const PairValue<T>& value;
  int64_t columns;
  T inv_tau, anchor_inv_tau, beta;

  T score_scale() const { return 1; }
  void block(int64_t, T*, int64_t, int64_t, double*) const {}
  kernels::PanelRow<T> finish(int64_t, const double* state) const { return {state[0]}; }
};

// J_i = sum_j pi_j A_j with A_j = value_j - beta (log pi_j - log pi0_j);  dJ_i/ds_j = pi_j (A_j - J_i)
template <class T>
struct RewardRows : AnchoredRows<T> {
  void prepare(int64_t i, T* row, T* anchor, double* state) const {
    const int64_t m = this->columns;
    T *gain = row_scratch<T>(3 * m), *p = gain + m, *p0 = p + m;
    row_values(this->value, i, row, m, gain);
    for (int64_t j = 0; j < m; ++j) {
      const bool left_out = gain[j] == kMinusInf<T>;
      row[j] = p[j] = left_out ? kMinusInf<T> : row[j] * this->inv_tau;
      anchor[j] = p0[j] = left_out ? kMinusInf<T> : anchor[j] * this->anchor_inv_tau;
    }
    const T norm = kernels::softmax(p, m), norm0 = kernels::softmax(p0, m);
    T objective = 0;
    for (int64_t j = 0; j < m; ++j) {
      gain[j] = p[j] > 0 ? gain[j] - this->beta * ((row[j] - norm) - (anchor[j] - norm0)) : T(0);
      objective += p[j] * gain[j];
    }
    for (int64_t j = 0; j < m; ++j) row[j] = p[j] * (objective - gain[j]);
    state[0] = -static_cast<double>(objective);
  }
};

template <class T>
struct DpoRows : AnchoredRows<T> {
  int64_t strides;

  void prepare(int64_t i, T* row, T* anchor, double* state) const {
    const int64_t m = this->columns;
    T *lead = row_scratch<T>(2 * m), *values = lead + m;  // the score's over the anchor's
    row_values(this->value, i, row, m, values);
    for (int64_t j = 0; j < m; ++j) {
      lead[j] = row[j] * this->inv_tau - anchor[j] * this->anchor_inv_tau;
      row[j] = 0;
    }
    T loss = 0;
    int64_t pairs = 0;
    for (int64_t stride = 1; stride <= strides; ++stride)
      for (int64_t a = 0; a < m; ++a) {
        const int64_t b = (a + stride) % m;
        if (values[a] == values[b] || std::min(values[a], values[b]) == kMinusInf<T>) continue;
        const int64_t j = values[a] > values[b] ? a : b, k = j == a ? b : a;
        const T margin = this->beta * (lead[j] - lead[k]);
        loss += std::max(-margin, T(0)) + std::log1p(std::exp(-std::abs(margin)));
        const T slope = -this->beta / (1 + std::exp(margin));
        row[j] += slope, row[k] -= slope;
        ++pairs;
      }
    const T share = pairs ? 1 / static_cast<T>(pairs) : T(0);
    for (int64_t j = 0; j < m; ++j) row[j] *= share;
    state[0] = static_cast<double>(loss * share);
  }
};

template <class T, class Rows>
Variable<T> anchored_loss(const Op& op, Variable<T> u, Variable<T> v, Variable<T> tau, const Anchor<T>& anchor,
                          const Rows& rows) {
  check_anchor(op, anchor, u.shape(), v.shape());
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> y = tape.make({1});
  const kernels::Pairs<T> pairs{u.rows(),         v.rows(),     u.cols(),        u.value().data(),
                                v.value().data(), rows.inv_tau, anchor.u.data(), anchor.v.data()};
  y[0] = run_pairs(tau.item(), grads,
                   [&](auto* out) { return kernels::PanelWalk<T, Rows>(pairs, rows, nullptr, nullptr, out).run(); });
  return tape.record(op, y, {u, v, tau}, [=](const Tensor<T>& dout) { push(u, v, tau, grads, dout[0]); });
}

}  // namespace

template <class T>
Variable<T> alignment_kl(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value) {
  check_sizes(kKl, u.shape(), v.shape());
  check_value(kKl, tau, value, u.rows(), v.rows());
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> y = tape.make({1});
  kernels::InBatchKl<T> in;
  in.b = u.rows(), in.m = v.rows(), in.d = u.cols(), in.u = u.value().data(), in.v = v.value().data();
  in.inv_tau = 1 / tau.item(), in.col_b = value.column_value.data(), in.c = value.dot_value;
  in.exclude = kernel_exclusions(value.exclude);
  y[0] = run_pairs(tau.item(), grads, [&](auto* out) { return kernels::in_batch_kl(in, out); });
  return tape.record(kKl, y, {u, v, tau}, [=](const Tensor<T>& dout) { push(u, v, tau, grads, dout[0]); });
}

template <class T>
Variable<T> alignment_reward(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value,
                             const Anchor<T>& anchor, std::type_identity_t<T> beta) {
  check_sizes(kReward, u.shape(), v.shape());
  check_value(kReward, tau, value, u.rows(), v.rows());
  const RewardRows<T> rows{{value, v.rows(), 1 / tau.item(), 1 / anchor.tau, beta}};
  return anchored_loss(kReward, u, v, tau, anchor, rows);
}

template <class T>
Variable<T> alignment_dpo(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value,
                          const Anchor<T>& anchor, std::type_identity_t<T> beta, int64_t strides) {
  check_sizes(kDpo, u.shape(), v.shape());
  check_value(kDpo, tau, value, u.rows(), v.rows());
  const DpoRows<T> rows{{value, v.rows(), 1 / tau.item(), 1 / anchor.tau, beta}, std::min(strides, v.rows() - 1)};
  return anchored_loss(kDpo, u, v, tau, anchor, rows);
}

#define TT_INSTANTIATE(T)                                                                                             \
  template Variable<T> alignment_kl(Variable<T>, Variable<T>, Variable<T>, const PairValue<T>&);                      \
  template Variable<T> alignment_reward(Variable<T>, Variable<T>, Variable<T>, const PairValue<T>&, const Anchor<T>&, \
                                        T);                                                                           \
  template Variable<T> alignment_dpo(Variable<T>, Variable<T>, Variable<T>, const PairValue<T>&, const Anchor<T>&, T, \
                                     int64_t);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
