#include <twotower/autograd/ops/elementwise/elements.h>
#include <twotower/autograd/ops/losses/list_losses.h>
#include <twotower/autograd/ops/sequences/offsets.h>
#include <twotower/tensor/kernels/softmax/softmax.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tt {
namespace {

const Op kSquaredError("list_squared_error"), kMargin("list_margin"), kKl("list_kl"), kReward("list_reward"),
    kDpo("list_dpo");

template <class T>
constexpr T kMinusInf = -std::numeric_limits<T>::infinity();

template <class T>
void check_entries(const Op& op, const char* what, Tensor<const T> numbers, int64_t entries) {
  check(numbers.numel() == entries, op.name, what, " has ", numbers.numel(), " numbers for ", entries, " scores");
}

// Empty, or one finite number that is not negative for each of `count` scores or rows.
template <class T>
void check_weights(const Op& op, const char* what, Tensor<const T> weight, int64_t count, const char* of) {
  check(weight.numel() == 0 || weight.numel() == count, op.name, what, " has ", weight.numel(), " numbers for ", count,
        " ", of);
  for (int64_t k = 0; k < weight.numel(); ++k)
    check(weight[k] >= 0 && std::isfinite(weight[k]), op.name, what, " ", k, " is ", weight[k],
          "; weights must be finite and not negative");
}

template <class T>
void check_beta(const Op& op, T beta) {
  check(beta >= 0 && std::isfinite(beta), op.name, "beta is ", beta, "; it must be finite and not negative");
}

template <class T>
struct RowLoss {
  T loss = 0;
  bool counts = false;
};

// Of a row of which no entry takes part.
template <class T>
RowLoss<T> no_entry(T* ds, int64_t lo, int64_t hi) {
  std::fill(ds + lo, ds + hi, T(0));
  return {};
}

// sum_i W_i x_i / sum_i W_i over the rows that count. row(lo, hi, ds) is x_i, the loss of the list [lo, hi), and leaves
// dx_i/ds_k in ds[lo .. hi). `work`: the passes over its entries that a row takes.
template <class T, class Row>
Variable<T> mean_over_rows(const Op& op, Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> row_weight,
                           int64_t work, Row row) {
  Tape<T>& tape = scores.tape();
  const int64_t rows = offsets.numel() - 1, n = scores.numel();
  check_weights(op, "row_weight", row_weight, rows, "rows");
  const Tensor<T> ds = tape.make({n}), y = tape.make({1});
  auto* losses = tape.arena().template allocate<RowLoss<T>>(rows);
  const auto weight = [&](int64_t i) { return row_weight.numel() > 0 ? row_weight[i] : T(1); };
  parallel_for(0, rows, row_grain((n / std::max<int64_t>(rows, 1) + 1) * work), [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) {
      losses[i] = row(offsets[i], offsets[i + 1], ds.data());
      for (int64_t k = offsets[i]; k < offsets[i + 1]; ++k) ds[k] *= weight(i);
    }
  });
  double loss = 0, total = 0;
  for (int64_t i = 0; i < rows; ++i) {
    if (!losses[i].counts || weight(i) == 0) continue;
    loss += static_cast<double>(weight(i)) * static_cast<double>(losses[i].loss);
    total += static_cast<double>(weight(i));
  }
  y[0] = total > 0 ? static_cast<T>(loss / total) : T(0);
  const T share = total > 0 ? static_cast<T>(1 / total) : T(0);
  return tape.record(op, y, {scores}, [=](const Tensor<T>& dout) {
    add_elements(scores.accumulator(), [&](int64_t k) { return dout[0] * share * ds[k]; });
  });
}

// x = sum_k w_k (s_k - target_k - b)^2 / sum_k w_k with b = 0 or the best one;  dx/ds_k = 2 w_k (s_k - target_k - b) /
// sum_k w_k, for at the best b its own move changes nothing.
template <class T>
Variable<T> squared_error(const Op& op, Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> target,
                          Tensor<const T> weight, Tensor<const T> row_weight, bool free_constant) {
  const Tensor<T> s = scores.value();
  check_offsets(op, offsets, s.numel());
  check_entries(op, "target", target, s.numel());
  check_weights(op, "weight", weight, s.numel(), "scores");
  return mean_over_rows(op, scores, offsets, row_weight, 4, [&](int64_t lo, int64_t hi, T* ds) -> RowLoss<T> {
    const auto entry_weight = [&](int64_t k) {
      return std::isnan(target[k]) ? T(0) : weight.numel() > 0 ? weight[k] : T(1);
    };
    T total = 0, constant = 0, loss = 0;
    const auto error = [&](int64_t k) { return s[k] - target[k] - constant; };
    for (int64_t k = lo; k < hi; ++k) total += entry_weight(k);
    if (total == 0) return no_entry(ds, lo, hi);
    if (free_constant) {
      T sum = 0;
      for (int64_t k = lo; k < hi; ++k)
        if (const T w = entry_weight(k); w > 0) sum += w * error(k);
      constant = sum / total;
    }
    for (int64_t k = lo; k < hi; ++k) {
      const T w = entry_weight(k) / total;
      ds[k] = w > 0 ? 2 * w * error(k) : T(0);
      if (w > 0) loss += w * error(k) * error(k);
    }
    return {loss, true};
  });
}

// A softmax over each row's entries, with its logarithm.
template <class T>
struct Distribution {
  Tensor<T> p, log_p;
  Distribution(Tape<T>& tape, int64_t n) : p(tape.make({n})), log_p(tape.make({n})) {}

  // softmax(logits - log_q) over the entries [lo, hi) whose `value` is a number. False: there are none.
  bool set(Tensor<const T> logits, Tensor<const T> log_q, Tensor<const T> value, int64_t lo, int64_t hi) const {
    for (int64_t k = lo; k < hi; ++k) {
      log_p[k] = std::isnan(value[k]) ? kMinusInf<T> : logits[k] - (log_q.numel() > 0 ? log_q[k] : T(0));
      p[k] = log_p[k];
    }
    const T log_sum = kernels::softmax(p.data() + lo, hi - lo);
    if (log_sum == kMinusInf<T>) return false;
    for (int64_t k = lo; k < hi; ++k) log_p[k] -= log_sum;
    return true;
  }
};

}  // namespace

template <class T>
Variable<T> list_squared_error(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> target,
                               Tensor<const T> weight, Tensor<const T> row_weight) {
  return squared_error(kSquaredError, scores, offsets, target, weight, row_weight, /*free_constant=*/false);
}

template <class T>
Variable<T> list_margin(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> target,
                        Tensor<const T> weight, Tensor<const T> row_weight) {
  return squared_error(kMargin, scores, offsets, target, weight, row_weight, /*free_constant=*/true);
}

// dx/ds = pi - q
template <class T>
Variable<T> list_kl(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> target, Tensor<const T> log_q) {
  const Tensor<const T> s = scores.value();
  const int64_t n = s.numel();
  check_offsets(kKl, offsets, n);
  check_entries(kKl, "target", target, n);
  if (log_q.numel() > 0) check_entries(kKl, "log_q", log_q, n);
  const Distribution<T> pi(scores.tape(), n), q(scores.tape(), n);
  return mean_over_rows(kKl, scores, offsets, {}, 32, [&](int64_t lo, int64_t hi, T* ds) -> RowLoss<T> {
    if (!q.set(target, log_q, target, lo, hi)) return no_entry(ds, lo, hi);
    pi.set(s, log_q, target, lo, hi);
    T loss = 0;
    for (int64_t k = lo; k < hi; ++k) {
      if (q.p[k] != 0) loss += q.p[k] * (q.log_p[k] - pi.log_p[k]);
      ds[k] = pi.p[k] - q.p[k];
    }
    return {loss, true};
  });
}

// J = sum_k pi_k A_k with A_k = value_k - beta (log pi_k - log pi0_k);  x = -J;  dx/ds_k = pi_k (J - A_k)
template <class T>
Variable<T> list_reward(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> value,
                        Tensor<const T> anchor, Tensor<const T> log_q, std::type_identity_t<T> beta) {
  const Tensor<const T> s = scores.value();
  const int64_t n = s.numel();
  check_offsets(kReward, offsets, n);
  check_entries(kReward, "value", value, n);
  check_entries(kReward, "anchor", anchor, n);
  if (log_q.numel() > 0) check_entries(kReward, "log_q", log_q, n);
  check_beta(kReward, beta);
  const Distribution<T> pi(scores.tape(), n), pi0(scores.tape(), n);
  return mean_over_rows(kReward, scores, offsets, {}, 32, [&](int64_t lo, int64_t hi, T* ds) -> RowLoss<T> {
    if (!pi.set(s, log_q, value, lo, hi)) return no_entry(ds, lo, hi);
    pi0.set(anchor, log_q, value, lo, hi);
    T objective = 0;
    for (int64_t k = lo; k < hi; ++k) {
      ds[k] = pi.p[k] != 0 ? value[k] - beta * (pi.log_p[k] - pi0.log_p[k]) : T(0);  // A_k
      objective += pi.p[k] * ds[k];
    }
    for (int64_t k = lo; k < hi; ++k) ds[k] = pi.p[k] * (objective - ds[k]);
    return {-objective, true};
  });
}

// With p = softmax(r) over the winner and its losers: -log p_w;  its gradient to s is beta (p - [k = w])
template <class T>
Variable<T> list_dpo(Variable<T> scores, Tensor<const int64_t> offsets, Tensor<const T> value, Tensor<const T> anchor,
                     std::type_identity_t<T> beta, int64_t winners) {
  const Tensor<T> s = scores.value();
  const int64_t n = s.numel();
  check_offsets(kDpo, offsets, n);
  check_entries(kDpo, "value", value, n);
  check_entries(kDpo, "anchor", anchor, n);
  check_beta(kDpo, beta);
  check(winners >= 1, kDpo.name, winners, " winners a row; there must be at least one");
  Tape<T>& tape = scores.tape();
  auto* order = tape.arena().template allocate<int64_t>(n);
  const Tensor<T> lead = tape.make({n}), p = tape.make({n});
  const int64_t passes = 16 * std::min(winners, n);
  return mean_over_rows(kDpo, scores, offsets, {}, passes, [&](int64_t lo, int64_t hi, T* ds) -> RowLoss<T> {
    int64_t *const first = order + lo, *last = first;
    for (int64_t k = lo; k < hi; ++k) {
      ds[k] = 0;
      lead[k] = beta * (s[k] - anchor[k]);
      if (!std::isnan(value[k])) *last++ = k;
    }
    int64_t* const end = first + std::min(winners, last - first);
    std::partial_sort(first, end, last,
                      [&](int64_t a, int64_t b) { return value[a] != value[b] ? value[a] > value[b] : a < b; });
    T loss = 0;
    int64_t counted = 0;
    for (const int64_t* winner = first; winner < end; ++winner, ++counted) {
      const int64_t w = *winner;
      bool has_loser = false;
      for (int64_t k = lo; k < hi; ++k) {
        const bool loses = value[k] < value[w];  // not where it is NaN
        has_loser |= loses;
        p[k] = loses || k == w ? lead[k] : kMinusInf<T>;
      }
      if (!has_loser) break;  // nor will those after it
      loss += kernels::softmax(p.data() + lo, hi - lo) - lead[w];
      for (int64_t k = lo; k < hi; ++k) ds[k] += beta * p[k];
      ds[w] -= beta;
    }
    if (counted == 0) return no_entry(ds, lo, hi);
    for (int64_t k = lo; k < hi; ++k) ds[k] /= static_cast<T>(counted);
    return {loss / static_cast<T>(counted), true};
  });
}

#define TT_INSTANTIATE(T)                                                                                       \
  template Variable<T> list_squared_error(Variable<T>, Tensor<const int64_t>, Tensor<const T>, Tensor<const T>, \
                                          Tensor<const T>);                                                     \
  template Variable<T> list_margin(Variable<T>, Tensor<const int64_t>, Tensor<const T>, Tensor<const T>,        \
                                   Tensor<const T>);                                                            \
  template Variable<T> list_kl(Variable<T>, Tensor<const int64_t>, Tensor<const T>, Tensor<const T>);           \
  template Variable<T> list_reward(Variable<T>, Tensor<const int64_t>, Tensor<const T>, Tensor<const T>,        \
                                   Tensor<const T>, T);                                                         \
  template Variable<T> list_dpo(Variable<T>, Tensor<const int64_t>, Tensor<const T>, Tensor<const T>, T, int64_t);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
