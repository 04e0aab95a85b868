#include <twotower/autograd/ops/alignment_losses.h>
#include <twotower/autograd/ops/pair_rows.h>
#include <twotower/tensor/kernels/in_batch/in_batch.h>

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
  exclude_columns(value.exclude, i, out);
}

template <class T>
T kl_loss(Tensor<T> u, Tensor<T> v, T tau, const PairValue<T>& value, ScoreGradients<T>* grads, Arena& arena) {
  const int64_t m = v.rows();
  const T share = T(1) / static_cast<T>(u.rows());
  return for_each_row(u, v, {}, {}, grads, arena, [&](int64_t i, T* dots, const T*) {
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

float kl_loss(Tensor<float> u, Tensor<float> v, float tau, const PairValue<float>& value, ScoreGradients<float>* grads,
              Arena&) {
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
Variable<T> alignment_kl(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value) {
  check_sizes(kKl, u.shape(), v.shape());
  check_value(kKl, tau, value, u.rows(), v.rows());
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> y = tape.make({1});
  y[0] = kl_loss(u.value(), v.value(), tau.item(), value, grads, tape.arena());
  return tape.record(kKl, y, {u, v, tau}, [=](const Tensor<T>& dout) { push(u, v, tau, grads, dout[0]); });
}

template <class T>
Variable<T> alignment_reward(Variable<T> u, Variable<T> v, Variable<T> tau, const PairValue<T>& value,
                             const Anchor<T>& anchor, T beta) {
  check_sizes(kReward, u.shape(), v.shape());
  check_value(kReward, tau, value, u.rows(), v.rows());
  check_anchor(kReward, anchor, u.shape(), v.shape());
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> y = tape.make({1});
  const int64_t m = v.rows();
  const T t = tau.item(), share = T(1) / static_cast<T>(u.rows());
  y[0] = for_each_row(u.value(), v.value(), anchor.u, anchor.v, grads, tape.arena(),
                      [&](int64_t i, T* dots, const T* dots0) {
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
                        // J_i = sum_j pi_j A_j with A_j = value_j - beta (log pi_j - log pi0_j);  dJ_i/ds_j =
                        // pi_j (A_j - J_i)
                        T objective = 0;
                        for (int64_t j = 0; j < m; ++j) {
                          if (dots[j] > 0)
                            gain[j] -= beta * ((s[j] - norm) - (s0[j] - norm0));
                          else
                            gain[j] = 0;
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
  check_value(kDpo, tau, value, u.rows(), v.rows());
  check_anchor(kDpo, anchor, u.shape(), v.shape());
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> y = tape.make({1});
  const int64_t m = v.rows();
  const T t = tau.item(), rows = static_cast<T>(u.rows());
  strides = std::min(strides, m - 1);
  y[0] = for_each_row(u.value(), v.value(), anchor.u, anchor.v, grads, tape.arena(),
                      [&](int64_t i, T* dots, const T* dots0) {
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
