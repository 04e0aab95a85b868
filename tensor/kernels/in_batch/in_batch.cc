#include <twotower/tensor/kernels/in_batch/in_batch.h>
#include <twotower/tensor/kernels/in_batch/in_batch_body.h>
#include <twotower/tensor/kernels/in_batch/panels.h>
#include <twotower/tensor/kernels/softmax/softmax.h>
#include <twotower/tensor/kernels/softmax/softmax_body.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tt::kernels {
namespace {

template <class T>
constexpr T kMinusInf = -std::numeric_limits<T>::infinity();

// state = {max, sum of exponentials, score of the target}
template <class T>
class SoftmaxRows {
 public:
  explicit SoftmaxRows(const InBatchSoftmax<T>& x) : in(x) {}

  T score_scale() const { return in.inv_tau; }

  void prepare(int64_t i, T* row, T*, double* state) const {
    if (in.positives.offsets != nullptr) return prepare_positives(i, row, state);
    const int64_t t = target_of(i);
    const T dot = row[t];
    const T own = in.col_bias == nullptr || in.positive_uncorrected ? dot : dot + in.col_bias[t];
    exclude(in.exclude, i, row);
    row[t] = kMinusInf<T>;  // out of the way of the negatives' maximum and selection
    const T rest = body.bias_max(row, in.col_bias, in.m);
    if (in.hard_k > 0) keep_highest(row, in.m, in.hard_k);
    row[t] = own;
    state[0] = static_cast<double>(own > rest ? own : rest), state[1] = 0, state[2] = static_cast<double>(own);
  }

  void block(int64_t, T* row, int64_t, int64_t n, double* state) const {
    state[1] += static_cast<double>(body.exp_sum(row, static_cast<T>(state[0]), n));
  }

  PanelRow<T> finish(int64_t i, const double* state) const {
    if (in.positives.offsets != nullptr) return finish_positives(i, state);
    return {std::log(state[1]) + state[0] - state[2], 1 / state[1], state[1], target_of(i)};
  }

 private:
  int64_t target_of(int64_t i) const { return in.target == nullptr ? i : in.target[i]; }

  // Keeps the positives' scores in scratch; those that do not compete leave the row, whose sum is then the negatives'.
  void prepare_positives(int64_t i, T* row, double* state) const {
    const Positives<T>& p = in.positives;
    T most = kMinusInf<T>;
    for (int64_t k = p.offsets[i]; k < p.offsets[i + 1]; ++k) {
      const int32_t j = p.cols[k];
      p.scratch[k] = in.col_bias == nullptr ? row[j] : row[j] + in.col_bias[j];
      most = std::max(most, p.scratch[k]);
      if (!p.compete) row[j] = kMinusInf<T>;
    }
    const T rest = body.bias_max(row, in.col_bias, in.m);
    state[0] = static_cast<double>(most > rest ? most : rest), state[1] = 0, state[2] = 0;
  }

  // With S the row's sum of exponentials e_j: the mean over positives p of log(D_p / e_p), where D_p = S if the
  // positives compete and S + e_p if not. Its gradient is factor * e_j, factor = mean_p 1 / D_p, less 1 / n for each
  // positive; a positive that does not compete has only its own share e_p / (n D_p) of the former, which its column
  // does not hold.
  PanelRow<T> finish_positives(int64_t i, const double* state) const {
    const Positives<T>& p = in.positives;
    const int64_t lo = p.offsets[i], count = p.offsets[i + 1] - lo;
    const double each = 1 / static_cast<double>(count);
    double loss = 0, factor = 0;
    for (int64_t k = lo; k < lo + count; ++k) {
      const double score = static_cast<double>(p.scratch[k]) - state[0];
      const double own = p.compete ? 0 : std::exp(score);
      loss += each * (std::log(state[1] + own) - score);
      factor += each / (state[1] + own);
      p.scratch[k] = static_cast<T>(each * (1 - own / (state[1] + own)));
    }
    for (int64_t k = lo; k < lo + count; ++k) p.scratch[k] = static_cast<T>(static_cast<double>(p.scratch[k]) / factor);
    return {loss, factor, 0, -1, p.cols + lo, p.scratch + lo, count};
  }

  const InBatchSoftmax<T>& in;
  const SoftmaxTable<T>& body = softmax_body<T>();
};

// state = {log-sum of s, log-sum of t, KL}
template <class T>
class KlRows {
 public:
  explicit KlRows(const InBatchKl<T>& x) : in(x) {}

  T score_scale() const { return 1; }

  void prepare(int64_t i, T* row, T*, double* state) const {
    exclude(in.exclude, i, row);
    T max[2];
    body.kl_max(row, at(0), in.m, max);
    if (max[0] == kMinusInf<T>) max[0] = 0;  // nothing left: all weights come out as 0
    if (max[1] == kMinusInf<T>) max[1] = 0;
    double sums[2] = {};
    for (int64_t j = 0; j < in.m; j += 1024) body.kl_sums(row + j, at(j), std::min<int64_t>(1024, in.m - j), max, sums);
    for (int x = 0; x < 2; ++x) state[x] = sums[x] == 0 ? 0 : std::log(sums[x]) + static_cast<double>(max[x]);
    state[2] = 0;
  }

  void block(int64_t, T* row, int64_t j, int64_t n, double* state) const {
    const T log_sum[2] = {static_cast<T>(state[0]), static_cast<T>(state[1])};
    state[2] += static_cast<double>(body.kl_grad(row, at(j), n, log_sum));
  }

  PanelRow<T> finish(int64_t, const double* state) const { return {state[2]}; }

 private:
  KlScores<T> at(int64_t j) const { return {in.inv_tau, in.c, in.col_b == nullptr ? nullptr : in.col_b + j}; }

  const InBatchKl<T>& in;
  const InBatchTable<T>& body = in_batch_body<T>();
};

}  // namespace

template <class T>
double in_batch_softmax(const InBatchSoftmax<T>& in, T* ce, const InBatchGrads<T>* grads) {
  const SoftmaxRows<T> rows(in);
  return PanelWalk<T, SoftmaxRows<T>>({in.b, in.m, in.d, in.u, in.v, in.inv_tau}, rows, in.weight, ce, grads).run();
}

template <class T>
double in_batch_kl(const InBatchKl<T>& in, const InBatchGrads<T>* grads) {
  const KlRows<T> rows(in);
  return PanelWalk<T, KlRows<T>>({in.b, in.m, in.d, in.u, in.v, in.inv_tau}, rows, nullptr, nullptr, grads).run();
}

#define TT_INSTANTIATE(T)                                                                 \
  template double in_batch_softmax(const InBatchSoftmax<T>&, T*, const InBatchGrads<T>*); \
  template double in_batch_kl(const InBatchKl<T>&, const InBatchGrads<T>*);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt::kernels
