#include <twotower/tensor/kernels/in_batch/in_batch.h>
#include <twotower/tensor/kernels/in_batch/in_batch_body.h>
#include <twotower/tensor/kernels/in_batch/panels.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace tt::kernels {
namespace {

using detail::Panels;

constexpr float kInf = __builtin_inff();

// ---- cross-entropy: state = {max, sum, s_target} ----

struct Softmax {
  const InBatchSoftmax& in;
  const InBatchTable& body;
};

int64_t target_of(const InBatchSoftmax& in, int64_t i) { return in.target == nullptr ? i : in.target[i]; }

// Floats as integers in the same order; NaN sorts to the ends instead of breaking the order.
int32_t sort_key(float x) {
  int32_t k;
  std::memcpy(&k, &x, sizeof k);
  return k < 0 ? k ^ 0x7fffffff : k;
}

// Leaves the k highest of row [m] and sets the others to -inf.
void keep_highest(float* row, int64_t m, int64_t k) {
  if (k >= m) return;
  auto* keys = static_cast<int32_t*>(thread_scratch(2, static_cast<std::size_t>(m) * sizeof(int32_t)));
  for (int64_t j = 0; j < m; ++j) keys[j] = sort_key(row[j]);
  std::nth_element(keys, keys + (k - 1), keys + m, [](int32_t a, int32_t b) { return a > b; });
  const int32_t least = keys[k - 1];
  int64_t above = 0;
  for (int64_t j = 0; j < m; ++j) above += sort_key(row[j]) > least;
  int64_t ties = k - above;
  for (int64_t j = 0; j < m; ++j) {
    const int32_t key = sort_key(row[j]);
    if (key > least || (key == least && ties-- > 0)) continue;
    row[j] = -kInf;
  }
}

// Keeps the positives' scores in scratch; those that do not compete leave the row, whose sum is then the negatives'.
void prepare_positives(const InBatchSoftmax& in, const InBatchTable& body, int64_t i, float* row, double* state) {
  const Positives& p = in.positives;
  float most = -kInf;
  for (int64_t k = p.offsets[i]; k < p.offsets[i + 1]; ++k) {
    const int32_t j = p.cols[k];
    p.scratch[k] = in.col_bias == nullptr ? row[j] : row[j] + in.col_bias[j];
    most = std::max(most, p.scratch[k]);
    if (!p.compete) row[j] = -kInf;
  }
  const float rest = body.bias_max(row, in.col_bias, in.m);
  state[0] = static_cast<double>(most > rest ? most : rest), state[1] = 0, state[2] = 0;
}

// With S the row's sum of exponentials e_j: the mean over positives p of log(D_p / e_p), where D_p = S if the positives
// compete and S + e_p if not. Its gradient is factor * e_j, factor = mean_p 1 / D_p, less 1 / n for each positive; a
// positive that does not compete has only its own share e_p / (n D_p) of the former, which its column does not hold.
Panels::Finish finish_positives(const InBatchSoftmax& in, int64_t i, const double* state) {
  const Positives& p = in.positives;
  const int64_t lo = p.offsets[i], count = p.offsets[i + 1] - lo;
  const double each = 1 / static_cast<double>(count);
  double loss = 0, factor = 0;
  for (int64_t k = lo; k < lo + count; ++k) {
    const double score = static_cast<double>(p.scratch[k]) - state[0];
    const double own = p.compete ? 0 : std::exp(score);
    loss += each * (std::log(state[1] + own) - score);
    factor += each / (state[1] + own);
    p.scratch[k] = static_cast<float>(each * (1 - own / (state[1] + own)));
  }
  for (int64_t k = lo; k < lo + count; ++k)
    p.scratch[k] = static_cast<float>(static_cast<double>(p.scratch[k]) / factor);
  return {loss, factor, 0, -1, p.cols + lo, p.scratch + lo, count};
}

void softmax_prepare(const void* context, int64_t i, float* row, double* state) {
  const auto& [in, body] = *static_cast<const Softmax*>(context);
  if (in.positives.offsets != nullptr) {
    prepare_positives(in, body, i, row, state);
    return;
  }
  const int64_t t = target_of(in, i);
  const float dot = row[t];
  const float own = in.col_bias == nullptr || in.positive_uncorrected ? dot : dot + in.col_bias[t];
  detail::exclude(in.exclude, i, row);
  row[t] = -kInf;  // out of the way of the negatives' maximum and selection
  float max = body.bias_max(row, in.col_bias, in.m);
  if (in.hard_k > 0) keep_highest(row, in.m, in.hard_k);
  row[t] = own;
  if (own > max) max = own;
  state[0] = static_cast<double>(max), state[1] = 0, state[2] = static_cast<double>(own);
}

void softmax_block(const void* context, int64_t, float* row, int64_t, int64_t n, double* state) {
  state[1] +=
      static_cast<double>(static_cast<const Softmax*>(context)->body.exp_sum(row, static_cast<float>(state[0]), n));
}

Panels::Finish softmax_finish(const void* context, int64_t i, float*, const double* state) {
  const InBatchSoftmax& in = static_cast<const Softmax*>(context)->in;
  if (in.positives.offsets != nullptr) return finish_positives(in, i, state);
  return {std::log(state[1]) + state[0] - state[2], 1 / state[1], state[1], target_of(in, i)};
}

// ---- KL: state = {log-sum of s, log-sum of t, KL} ----

struct Kl {
  const InBatchKl& in;
  const InBatchTable& body;
  KlScores at(int64_t j) const {
    return {in.inv_tau, in.c, in.col_bias == nullptr ? nullptr : in.col_bias + j,
            in.col_b == nullptr ? nullptr : in.col_b + j};
  }
};

void kl_prepare(const void* context, int64_t i, float* row, double* state) {
  const Kl& kl = *static_cast<const Kl*>(context);
  detail::exclude(kl.in.exclude, i, row);
  float max[2];
  kl.body.kl_max(row, kl.at(0), kl.in.m, max);
  if (max[0] == -kInf) max[0] = 0;  // nothing left: all weights come out as 0
  if (max[1] == -kInf) max[1] = 0;
  double sums[2] = {};
  for (int64_t j = 0; j < kl.in.m; j += 1024)
    kl.body.kl_sums(row + j, kl.at(j), std::min<int64_t>(1024, kl.in.m - j), max, sums);
  for (int x = 0; x < 2; ++x) state[x] = sums[x] == 0 ? 0 : std::log(sums[x]) + static_cast<double>(max[x]);
  state[2] = 0;
}

void kl_block(const void* context, int64_t, float* row, int64_t j, int64_t n, double* state) {
  const Kl& kl = *static_cast<const Kl*>(context);
  const float log_sum[2] = {static_cast<float>(state[0]), static_cast<float>(state[1])};
  state[2] += static_cast<double>(kl.body.kl_grad(row, kl.at(j), n, log_sum));
}

Panels::Finish kl_finish(const void*, int64_t, float*, const double* state) { return {state[2], 1, 0, -1}; }

}  // namespace

double in_batch_softmax(const InBatchSoftmax& in, float* ce, const InBatchGrads* grads) {
  if (in.b <= 0) return 0;
  const Softmax context{in, in_batch_body()};
  return detail::run_panels({in.b, in.m, in.d, in.u, in.v, in.inv_tau, grads, &context, in.inv_tau, softmax_prepare,
                             softmax_block, softmax_finish},
                            in.weight, ce);
}

double in_batch_kl(const InBatchKl& in, float* kl, const InBatchGrads* grads) {
  if (in.b <= 0) return 0;
  const Kl context{in, in_batch_body()};
  return detail::run_panels(
      {in.b, in.m, in.d, in.u, in.v, in.inv_tau, grads, &context, 1.0f, kl_prepare, kl_block, kl_finish}, in.weight,
      kl);
}

}  // namespace tt::kernels
