#pragma once
// What spec.md says the losses are, in plain loops over plain arrays: no tape, no fused kernels. Only the
// towers' vectors come from the model.
//
// What is a constant to the gradient is computed from `frozen`, a second model: with both models at the same
// parameters this is the model's loss, and its numeric gradient with respect to the first model's parameters
// alone is what the tape's gradient must be.

#include <twotower/models/two_tower.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace tt::testing {

using Matrix = std::vector<std::vector<double>>;

// The vectors of one model on one batch.
struct Forward {
  Matrix u, v, columns, ranker;  // [B, DI], [B, DI], [M, DI], [B, NU * DI]
  double tau = 1;
};

struct ReferenceLoss {
  double retrieval = 0, debias = 0, ranker = 0, distillation = 0, proxy = 0, alignment = 0;
  double total() const { return retrieval + debias + ranker + distillation + proxy + alignment; }
};

inline Matrix to_matrix(const Tensor<const double>& x) {
  Matrix m;
  for (int64_t i = 0; i < x.rows() && x.numel() > 0; ++i) m.emplace_back(x.row(i), x.row(i) + x.cols());
  return m;
}

inline void append(Matrix& to, const Matrix& more) { to.insert(to.end(), more.begin(), more.end()); }

inline Forward forward(const TwoTower<double>& model, const Batch<double>& batch) {
  Arena arena;
  Tape<double> tape(arena, /*recording=*/false);
  Forward f;
  const auto served = model.serve(tape, batch.user);
  f.u = to_matrix(served.u.value());
  if (served.ranker) f.ranker = to_matrix(served.ranker.value());
  f.v = to_matrix(model.items(tape, batch.item).value());
  if (!batch.candidates.target) f.columns = f.v;
  if (batch.negatives.id.numel() > 0) append(f.columns, to_matrix(model.items(tape, batch.negatives).value()));
  if (batch.candidates.target)
    for (size_t i = 0; i < f.v.size(); ++i)
      f.v[i] = f.columns[static_cast<size_t>(batch.candidates.target[static_cast<int64_t>(i)])];
  append(f.columns, to_matrix(batch.queue.vectors));
  f.tau = model.temperature();
  return f;
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double s = 0;
  for (size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}

inline std::vector<double> log_softmax(std::vector<double> s) {
  const double top = *std::max_element(s.begin(), s.end());
  double total = 0;
  for (const double x : s) total += std::exp(x - top);
  for (double& x : s) x -= top + std::log(total);
  return s;
}

inline double bce(double logit, double target) {
  const double p = 1 / (1 + std::exp(-logit));
  return -(target * std::log(p) + (1 - target) * std::log(1 - p));
}

// y = W x + b with a layer of the model.
inline std::vector<double> apply(const TwoTower<double>& model, const std::string& layer,
                                 const std::vector<double>& x) {
  const Tensor<double> w = model.parameters().find(layer + ".weight")->value,
                       b = model.parameters().find(layer + ".bias")->value;
  std::vector<double> y(b.begin(), b.end());
  for (size_t o = 0; o < y.size(); ++o)
    for (size_t i = 0; i < x.size(); ++i) y[o] += w.row(static_cast<int64_t>(o))[i] * x[i];
  return y;
}

inline constexpr double kOut = -std::numeric_limits<double>::infinity();

inline bool excluded(const Batch<double>& batch, size_t row, size_t column) {
  const Exclusions& e = batch.candidates.exclude;
  if (e.offsets.numel() == 0) return false;
  const auto i = static_cast<int64_t>(row);
  return std::count(e.columns.data() + e.offsets[i], e.columns.data() + e.offsets[i + 1],
                    static_cast<int32_t>(column)) > 0;
}

// u.v / tau of row i with all columns, those left out at minus infinity.
inline std::vector<double> policy_scores(const Batch<double>& batch, const Forward& f, size_t i) {
  std::vector<double> s;
  for (size_t j = 0; j < f.columns.size(); ++j)
    s.push_back(excluded(batch, i, j) ? kOut : dot(f.u[i], f.columns[j]) / f.tau);
  return s;
}

inline double retrieval_loss(const Batch<double>& batch, const Forward& f, const std::vector<double>& weight) {
  double total = 0;
  for (size_t i = 0; i < f.u.size(); ++i) {
    const Candidates<double>& c = batch.candidates;
    const size_t own = c.target ? static_cast<size_t>(c.target[static_cast<int64_t>(i)]) : i;
    std::vector<double> s = policy_scores(batch, f, i);
    for (size_t j = 0; j < s.size(); ++j)
      if (c.log_q && !(j == own && c.positive_uncorrected)) s[j] -= c.log_q[static_cast<int64_t>(j)];
    if (c.hard_negatives > 0) {
      std::vector<double> negatives;
      for (size_t j = 0; j < s.size(); ++j)
        if (j != own) negatives.push_back(s[j]);
      std::sort(negatives.rbegin(), negatives.rend());
      if (negatives.size() > static_cast<size_t>(c.hard_negatives)) {
        const double least = negatives[static_cast<size_t>(c.hard_negatives) - 1];
        for (size_t j = 0; j < s.size(); ++j)
          if (j != own && s[j] < least) s[j] = kOut;
      }
    }
    total -= weight[i] * log_softmax(s)[own];
  }
  return total / static_cast<double>(f.u.size());
}

// P of row i's slot, or where it is unknown the mean of `frozen`'s over the batch's other rows.
inline double position_estimate(const TwoTower<double>& model, const TwoTower<double>& frozen,
                                const Batch<double>& batch, int64_t i) {
  const auto p = [&](const TwoTower<double>& of, int64_t row) {
    return of.parameters()
        .find("position_bias_net_user_value.weight")
        ->value[std::min<int64_t>(batch.position[row], 99)];
  };
  if (batch.position[i] >= 0) return p(model, i);
  double sum = 0, known = 0;
  for (int64_t row = 0; row < batch.size(); ++row)
    if (batch.position[row] >= 0) sum += p(frozen, row), ++known;
  return known > 0 ? sum / known : frozen.parameters().find("position_bias_net_user_value.weight")->value[0];
}

// One row's estimate of its value, as `estimate`, and the debias loss's terms.
struct Estimate {
  double estimate = 0, position_error = 0, user_error = 0;
};

inline Estimate estimate_of(const TwoTower<double>& model, const TwoTower<double>& frozen, const Batch<double>& batch,
                            int64_t i, const std::vector<double>& u, double value) {
  Estimate e;
  double ep = 0;
  const ModelConfig& config = model.config();
  if (config.debias_position()) {
    e.estimate = ep = position_estimate(model, frozen, batch, i);
    if (batch.position[i] >= 0) e.position_error = (ep - value) * (ep - value);
  }
  if (config.debias_user()) {
    std::vector<double> x = u;
    if (config.debias_position()) x.push_back(ep);
    e.estimate = apply(model, "user_debias_net_user_value.0", x)[0];
    if (!config.debias_position()) e.estimate = std::max(e.estimate, 0.1);
    e.user_error = (e.estimate - value) * (e.estimate - value);
  }
  return e;
}

// What no debiased value may exceed: the cap times the median of the positive ones.
inline double most_weight(std::vector<double> debiased, double cap) {
  std::erase_if(debiased, [](double x) { return !(x > 0); });
  if (cap == 0 || debiased.empty()) return std::numeric_limits<double>::infinity();
  std::sort(debiased.begin(), debiased.end());
  return cap * debiased[(debiased.size() - 1) / 2];
}

// Cross-entropy of row i's label t with a ranker's logit: by its slot's examination, where the model knows one.
inline double label_loss(const TwoTower<double>& frozen, const Batch<double>& batch, int64_t i, size_t t,
                         double logit) {
  const double label = batch.labels.row(i)[t];
  const ModelConfig& config = frozen.config();
  if (!config.debias_position() || !config.ranker_examination) return bce(logit, label);
  const Tensor<const double> p = frozen.parameters().find("position_bias_net_user_value.weight")->value;
  const double ratio = position_estimate(frozen, frozen, batch, i) / std::max(p[0], 1e-3);
  const double examination = std::clamp(ratio, 0.01, 1.0), sigmoid = 1 / (1 + std::exp(-logit));
  return -label * std::log(sigmoid) - (1 - label) * std::log(1 - examination * sigmoid);
}

// value_ij of the proxy ranker, without what depends on the user alone.
inline double pair_value(const TwoTower<double>& model, const std::vector<double>& u, const std::vector<double>& v) {
  std::vector<double> x = u, user_only = u;
  x.insert(x.end(), v.begin(), v.end());
  x.push_back(dot(u, v));
  user_only.resize(x.size(), 0.0);
  const std::vector<double> logits = apply(model, "simple_ranker", x), base = apply(model, "simple_ranker", user_only);
  double value = 0;
  for (size_t t = 0; t < logits.size(); ++t) value += model.config().user_value_weights[t] * (logits[t] - base[t]);
  return value / model.config().reward_temperature();
}

inline double alignment_loss(const TwoTower<double>& frozen, const Batch<double>& batch, const Forward& f,
                             const Forward& f0, const Forward& anchor) {
  const ModelConfig& config = frozen.config();
  double total = 0;
  for (size_t i = 0; i < f.u.size(); ++i) {
    const size_t m = f.columns.size() - static_cast<size_t>(batch.queue.id.numel());  // queued items are not compared
    std::vector<double> value(m), s = policy_scores(batch, f, i), s0 = policy_scores(batch, anchor, i);
    s.resize(m), s0.resize(m);
    for (size_t j = 0; j < m; ++j) value[j] = excluded(batch, i, j) ? kOut : pair_value(frozen, f0.u[i], f0.columns[j]);
    const std::vector<double> log_pi = log_softmax(s), log_pi0 = log_softmax(s0);
    const double beta = config.alignment_beta;
    if (config.alignment == "kl") {
      const std::vector<double> log_target = log_softmax(value);
      for (size_t j = 0; j < m; ++j)
        if (value[j] != kOut) total += std::exp(log_target[j]) * (log_target[j] - log_pi[j]);
    } else if (config.alignment == "expected_reward") {
      for (size_t j = 0; j < m; ++j)
        if (value[j] != kOut) total -= std::exp(log_pi[j]) * (value[j] - beta * (log_pi[j] - log_pi0[j]));
    } else {  // every pair of columns, which the model's strides cover for so few of them
      double sum = 0, pairs = 0;
      for (size_t j = 0; j < m; ++j)
        for (size_t k = 0; k < m; ++k) {
          if (value[k] == kOut || !(value[j] > value[k])) continue;
          sum += std::log1p(std::exp(-beta * ((log_pi[j] - log_pi0[j]) - (log_pi[k] - log_pi0[k]))));
          ++pairs;
        }
      if (pairs > 0) total += sum / pairs;
    }
  }
  return config.alignment_weight * total / static_cast<double>(f.u.size());
}

inline void ranker_losses(const TwoTower<double>& model, const TwoTower<double>& frozen, const Batch<double>& batch,
                          const Forward& f, ReferenceLoss& out) {
  const ModelConfig& config = model.config();
  const auto tasks = static_cast<size_t>(config.num_tasks()), d = static_cast<size_t>(config.item_id_embedding_dim);
  const double n = static_cast<double>(f.u.size() * tasks);
  for (size_t i = 0; i < f.u.size(); ++i) {
    const Matrix blocks = [&] {
      Matrix b;
      for (size_t k = 0; k < f.ranker[i].size(); k += d)
        b.emplace_back(f.ranker[i].begin() + static_cast<long>(k), f.ranker[i].begin() + static_cast<long>(k + d));
      return b;
    }();
    std::vector<double> r, aware(d, 0.0);
    for (const auto& block : blocks) r.push_back(dot(block, f.v[i]));
    const std::vector<double> share = log_softmax(r);
    for (size_t k = 0; k < blocks.size(); ++k)
      for (size_t j = 0; j < d; ++j) aware[j] += std::exp(share[k]) * blocks[k][j];
    std::vector<double> x = f.v[i];
    x.insert(x.end(), aware.begin(), aware.end());
    x.insert(x.end(), r.begin(), r.end());
    x.push_back(dot(f.u[i], f.v[i]));
    const std::vector<double> logits = apply(model, "light_ranker", x);
    const auto row = static_cast<int64_t>(i);
    for (size_t t = 0; t < tasks; ++t) {
      out.ranker += label_loss(frozen, batch, row, t, logits[t]) / n;
      if (config.distill)
        out.distillation += config.kd_weight * bce(logits[tasks + t], batch.ranker_scores.row(row)[t]) / n;
    }
  }
}

// f0: forward(frozen, batch). anchor: the same of the policy to stay near, as it was when it was frozen.
inline ReferenceLoss reference_loss(const TwoTower<double>& model, const TwoTower<double>& frozen, const Forward& f0,
                                    const Forward& anchor, const Batch<double>& batch) {
  const ModelConfig& config = model.config();
  const Forward f = forward(model, batch);
  const size_t b = f.u.size();
  const auto tasks = static_cast<size_t>(config.num_tasks());
  ReferenceLoss out;
  std::vector<double> weight, frozen_weight;
  const auto known = std::count_if(batch.position.begin(), batch.position.end(), [](int32_t p) { return p >= 0; });
  for (size_t i = 0; i < b; ++i) {
    const auto row = static_cast<int64_t>(i);
    double value = 0;
    for (size_t t = 0; t < tasks; ++t) value += config.user_value_weights[t] * batch.labels.row(row)[t];
    weight.push_back(value), frozen_weight.push_back(value);
    if (config.debias == "none") continue;
    const bool through = config.debias_gradient, sum = config.debias_reduction == "sum";
    const Estimate own = estimate_of(model, frozen, batch, row, through ? f.u[i] : f0.u[i], value),
                   constant = estimate_of(frozen, frozen, batch, row, f0.u[i], value);
    out.debias += own.position_error / (sum ? 1.0 : static_cast<double>(std::max<int64_t>(known, 1)));
    out.debias += own.user_error / (sum ? 1.0 : static_cast<double>(b));
    const double floor = config.debias_position() ? 1e-3 : 0.1;
    weight.back() = value / std::max((through ? own : constant).estimate, floor);
    frozen_weight.back() = value / std::max(constant.estimate, floor);
  }
  const double most =
      config.debias == "none" ? std::numeric_limits<double>::infinity() : most_weight(frozen_weight, config.debias_cap);
  for (double& w : weight) w = std::max(std::min(w, most), 1e-6);
  const double largest = *std::max_element(weight.begin(), weight.end());
  for (double& w : weight) w /= largest;
  out.retrieval = retrieval_loss(batch, f, weight);
  if (config.light_ranker) ranker_losses(model, frozen, batch, f, out);
  if (!config.aligns_with_proxy()) return out;

  for (size_t i = 0; i < b; ++i) {
    std::vector<double> x = f0.u[i];
    x.insert(x.end(), f0.v[i].begin(), f0.v[i].end());
    x.push_back(dot(f0.u[i], f0.v[i]));
    const std::vector<double> logits = apply(model, "simple_ranker", x);
    for (size_t t = 0; t < tasks; ++t) {
      const auto row = static_cast<int64_t>(i);
      double loss = label_loss(frozen, batch, row, t, logits[t]);
      if (config.alignment_fit_ranker) loss += bce(logits[t], batch.ranker_scores.row(row)[t]);
      out.proxy += loss / static_cast<double>(b * tasks);
    }
  }
  out.alignment = alignment_loss(frozen, batch, f, f0, anchor);
  return out;
}

}  // namespace tt::testing
