#include <twotower/autograd/ops/losses/pair_rows.h>
#include <twotower/autograd/ops/losses/retrieval_losses.h>
#include <twotower/tensor/kernels/in_batch/panels.h>
#include <twotower/tensor/kernels/softmax/softmax.h>

namespace tt {
namespace {

using namespace pair_rows;

const Op kInBatch("in_batch_softmax"), kScores("candidate_scores");

// Everything that a caller hands over, against B rows and M columns.
template <class T>
void check_candidates(const Op& op, const Candidates<T>& c, int64_t rows, int64_t columns) {
  check_columns(op, "log Q", c.log_q, columns);
  check_exclusions(op, c.exclude, rows, columns);
  const Positives& p = c.positives;
  if (p.offsets.numel() == 0) {
    check(c.target.numel() == 0 || c.target.numel() == rows, op.name, c.target.numel(), " targets for ", rows, " rows");
    check(c.target.numel() > 0 || columns >= rows, op.name, columns, " item columns for ", rows, " users");
    for (int64_t i = 0; i < c.target.numel(); ++i)
      check(c.target[i] >= 0 && c.target[i] < columns, op.name, "target ", c.target[i], " in row ", i,
            "; the columns are 0 to ", columns - 1);
    return;
  }
  check_lists(op, "positives", p.offsets, p.columns, rows, columns);
  check(c.target.numel() == 0 && c.exclude.offsets.numel() == 0 && c.hard_negatives == 0 && !c.positive_uncorrected,
        op.name, "rows with several positives take no targets, exclusions, hard negatives or uncorrected positives");
  for (int64_t i = 0; i < rows; ++i)
    check(p.offsets[i] < p.offsets[i + 1], op.name, "row ", i, " has no positive column");
}

// dots -> s, in place.
template <class T>
void to_scores(T* dots, int64_t row, int64_t m, T inv_tau, const Candidates<T>& c) {
  const int64_t target = c.target.numel() > 0 ? c.target[row] : row;
  const bool log_q = c.log_q.numel() > 0, corrected = log_q && !c.positive_uncorrected;
  const T own = dots[target] * inv_tau - (corrected ? c.log_q[target] : T(0));
  for (int64_t j = 0; j < m; ++j) dots[j] = dots[j] * inv_tau - (log_q ? c.log_q[j] : T(0));
  kernels::exclude(kernel_exclusions(c.exclude), row, dots);
  dots[target] = kMinusInf<T>;  // out of the way of the selection
  if (c.hard_negatives > 0) kernels::keep_highest(dots, m, c.hard_negatives);
  dots[target] = own;
}

template <class T>
T softmax_loss(Tensor<T> u, Tensor<T> v, T tau, Tensor<T> weight, const Candidates<T>& c, Tensor<T> ce,
               ScoreGradients<T>* grads, Arena& arena) {
  kernels::InBatchSoftmax<T> in;
  in.b = u.rows(), in.m = v.rows(), in.d = u.cols(), in.u = u.data(), in.v = v.data(), in.inv_tau = 1 / tau;
  if (c.log_q.numel() > 0) {
    const Tensor<T> bias = make_tensor<T>(arena, {in.m});
    for (int64_t j = 0; j < in.m; ++j) bias[j] = -c.log_q[j];
    in.col_bias = bias.data();
  }
  in.positive_uncorrected = c.positive_uncorrected, in.target = c.target.numel() > 0 ? c.target.data() : nullptr,
  in.hard_k = c.hard_negatives;
  in.exclude = kernel_exclusions(c.exclude);
  if (c.positives.offsets.numel()) {
    const Positives& p = c.positives;
    in.positives = {p.offsets.data(), p.columns.data(), arena.allocate<T>(p.offsets[in.b]), p.compete};
  }
  in.weight = weight.data();
  return run_pairs(tau, grads, [&](auto* out) { return kernels::in_batch_softmax(in, ce.data(), out); });
}

}  // namespace

template <class T>
Variable<T> in_batch_softmax(Variable<T> u, Variable<T> v, Variable<T> tau, Variable<T> weight,
                             const Candidates<T>& candidates) {
  check_sizes(kInBatch, u.shape(), v.shape());
  const int64_t b = u.rows();
  check(weight.value().numel() == b, kInBatch.name, weight.value().numel(), " weights for ", b, " rows");
  check_candidates(kInBatch, candidates, b, v.rows());
  check_temperature(kInBatch, tau);
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> ce = tape.make({b}), y = tape.make({1});
  y[0] = softmax_loss(u.value(), v.value(), tau.item(), weight.value(), candidates, ce, grads, tape.arena());
  return tape.record(kInBatch, y, {u, v, tau, weight}, [=](const Tensor<T>& dout) {
    if (grads) push(u, v, tau, grads, dout[0]);
    add_elements(weight.accumulator(), [=](int64_t i) { return dout[0] * ce[i] / static_cast<T>(b); });
  });
}

template <class T>
Variable<T> candidate_scores(Variable<T> dots, Variable<T> tau, const Candidates<T>& candidates) {
  Tape<T>& tape = dots.tape();
  const int64_t b = dots.rows(), m = dots.cols();
  check_candidates(kScores, candidates, b, m);
  check_temperature(kScores, tau);
  const Tensor<T> raw = dots.value(), y = tape.make(dots.shape());
  const T t = tau.item();
  for (int64_t i = 0; i < b; ++i) {
    std::copy_n(raw.row(i), m, y.row(i));
    to_scores(y.row(i), i, m, 1 / t, candidates);
  }
  return tape.record(kScores, y, {dots, tau}, [=](const Tensor<T>& dout) {
    const auto passes = [=](int64_t i) { return y[i] != kMinusInf<T>; };
    T dtau = 0;
    for (int64_t i = 0; i < dout.numel(); ++i)
      if (passes(i)) dtau -= dout[i] * raw[i] / (t * t);
    add_elements(dots.accumulator(), [&](int64_t i) { return passes(i) ? dout[i] / t : T(0); });
    add_elements(tau.accumulator(), [=](int64_t) { return dtau; });
  });
}

#define TT_INSTANTIATE(T)                                                                                          \
  template Variable<T> in_batch_softmax(Variable<T>, Variable<T>, Variable<T>, Variable<T>, const Candidates<T>&); \
  template Variable<T> candidate_scores(Variable<T>, Variable<T>, const Candidates<T>&);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
