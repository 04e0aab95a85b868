#include <twotower/autograd/ops/pair_rows.h>
#include <twotower/autograd/ops/retrieval_losses.h>
#include <twotower/tensor/kernels/in_batch/in_batch.h>

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
    check(c.target || columns >= rows, op.name, columns, " item columns for ", rows, " users");
    for (int64_t i = 0; i < c.target.numel(); ++i)
      check(c.target[i] >= 0 && c.target[i] < columns, op.name, "target ", c.target[i], " in row ", i,
            "; the columns are 0 to ", columns - 1);
    return;
  }
  check_lists(op, "positives", p.offsets, p.columns, rows, columns);
  check(!c.target && c.exclude.offsets.numel() == 0 && c.hard_negatives == 0 && !c.positive_uncorrected, op.name,
        "rows with several positives take no targets, exclusions, hard negatives or uncorrected positives");
  for (int64_t i = 0; i < rows; ++i)
    check(p.offsets[i] < p.offsets[i + 1], op.name, "row ", i, " has no positive column");
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
    if (s[j] == threshold && at_threshold > 0)
      --at_threshold;
    else
      s[j] = kMinusInf<T>;
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
T softmax_loss(Tensor<T> u, Tensor<T> v, T tau, Tensor<T> weight, const Candidates<T>& c, Tensor<T> ce,
               ScoreGradients<T>* grads, Arena& arena) {
  const int64_t m = v.rows();
  const T share = T(1) / static_cast<T>(u.rows());
  if (c.positives.offsets.numel()) {
    return for_each_row(u, v, {}, {}, grads, arena, [&](int64_t i, T* dots, const T*) {
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
  return for_each_row(u, v, {}, {}, grads, arena, [&](int64_t i, T* dots, const T*) {
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

}  // namespace

template <class T>
Variable<T> in_batch_softmax(Variable<T> u, Variable<T> v, Variable<T> tau, Variable<T> weight,
                             const Candidates<T>& candidates) {
  check_sizes(kInBatch, u.shape(), v.shape());
  const int64_t b = u.rows();
  check(weight.value().numel() == b, kInBatch.name, weight.value().numel(), " weights for ", b, " rows");
  check(b > 0, kInBatch.name, "the batch is empty");
  check_candidates(kInBatch, candidates, b, v.rows());
  check_temperature(kInBatch, tau);
  Tape<T>& tape = u.tape();
  ScoreGradients<T>* grads = make_gradients(tape, u, v, tau);
  const Tensor<T> ce = tape.make({b}), y = tape.make({1});
  y[0] = softmax_loss(u.value(), v.value(), tau.item(), weight.value(), candidates, ce, grads, tape.arena());
  return tape.record(kInBatch, y, {u, v, tau, weight}, [=](const Tensor<T>& dout) {
    if (grads) push(u, v, tau, grads, dout[0]);
    add_elements(weight.accumulator(), weight.shape(), [=](int64_t i) { return dout[0] * ce[i] / static_cast<T>(b); });
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
  const Tensor<T> scratch = tape.make({m});
  for (int64_t i = 0; i < b; ++i) {
    std::copy_n(raw.row(i), m, y.row(i));
    to_scores(y.row(i), i, m, 1 / t, candidates, target_of(candidates, i), scratch.data());
  }
  return tape.record(kScores, y, {dots, tau}, [=](const Tensor<T>& dout) {
    const auto passes = [=](int64_t i) { return y[i] != kMinusInf<T>; };
    T dtau = 0;
    for (int64_t i = 0; i < dout.numel(); ++i)
      if (passes(i)) dtau -= dout[i] * raw[i] / (t * t);
    add_elements(dots.accumulator(), dots.shape(), [&](int64_t i) { return passes(i) ? dout[i] / t : T(0); });
    add_elements(tau.accumulator(), tau.shape(), [=](int64_t) { return dtau; });
  });
}

#define TT_INSTANTIATE(T)                                                                                          \
  template Variable<T> in_batch_softmax(Variable<T>, Variable<T>, Variable<T>, Variable<T>, const Candidates<T>&); \
  template Variable<T> candidate_scores(Variable<T>, Variable<T>, const Candidates<T>&);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
