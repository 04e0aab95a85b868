#pragma once
// What models/list_batch.h, tower_distillation.h and list_losses.h say that a model learns from lists, in plain loops
// over plain arrays, as reference_loss.h has it for batches of impressions.

#include <cmath>
#include <vector>

#include "tests/models/reference_loss.h"

namespace tt::testing {

// The vectors of one model on one batch of lists.
struct ListForward {
  Matrix u, v, ranker;
  double tau = 1;
};

struct ReferenceListLoss {
  double towers = 0, ranker = 0, alignment = 0;
  double total() const { return towers + ranker + alignment; }
};

inline ListForward forward(const TwoTower<double>& model, const ListBatch<double>& batch) {
  Arena arena;
  Tape<double> tape(arena, /*recording=*/false);
  const auto served = model.serve(tape, batch.user);
  ListForward f{to_matrix(served.u.value()), to_matrix(model.items(tape, batch.item).value()), {}, 0};
  if (served.ranker) f.ranker = to_matrix(served.ranker.value());
  f.tau = model.temperature();
  return f;
}

// One entry of one row's list: where it stands in the batch, and u . v / tau.
struct Entry {
  int64_t at;
  size_t column;
  double score;
};

inline std::vector<Entry> entries_of(const ListBatch<double>& batch, const ListForward& f, size_t row) {
  std::vector<Entry> list;
  const auto i = static_cast<int64_t>(row);
  for (int64_t k = batch.lists.offsets[i]; k < batch.lists.offsets[i + 1]; ++k) {
    const auto column = static_cast<size_t>(batch.lists.columns[k]);
    list.push_back({k, column, dot(f.u[row], f.v[column]) / f.tau});
  }
  return list;
}

inline double logit_of(double p) {
  p = std::min(std::max(p, 1e-4), 1 - 1e-4);
  return std::log(p) - std::log1p(-p);
}

// The mean over rows of what `row_loss(list)` says, of those rows of which it says something.
template <class F>
double mean_over_rows(size_t rows, F row_loss) {
  double sum = 0, count = 0;
  for (size_t i = 0; i < rows; ++i) {
    double x = 0;
    if (row_loss(i, x)) sum += x, ++count;
  }
  return count > 0 ? sum / count : 0;
}

inline double list_distillation(const TwoTower<double>& model, const ListBatch<double>& batch, const ListForward& f) {
  const ModelConfig& config = model.config();
  const std::vector<double>& w = config.user_value_weights;
  return mean_over_rows(f.u.size(), [&](size_t i, double& x) {
    std::vector<double> s, y;
    for (const Entry& entry : entries_of(batch, f, i)) {
      if (std::isnan(batch.ranker_scores.row(entry.at)[0])) continue;
      double target = 0, weights = 0;
      for (size_t t = 0; t < w.size(); ++t)
        target += w[t] * logit_of(batch.ranker_scores.row(entry.at)[t]), weights += w[t];
      y.push_back(target / weights);
      s.push_back(entry.score);
    }
    const auto n = static_cast<double>(s.size());
    if (s.empty()) return false;
    if (config.distill_towers == "points") {
      const double level = apply(model, "tower_distillation.level", f.u[i])[0];
      const double scale = model.parameters().find("tower_distillation.scale")->value[0];
      for (size_t k = 0; k < s.size(); ++k) x += std::pow(scale * s[k] + level - y[k], 2) / n;
    } else if (config.distill_towers == "margins") {  // all pairs
      for (size_t k = 0; k < s.size(); ++k)
        for (size_t l = 0; l < s.size(); ++l) x += std::pow((s[k] - s[l]) - (y[k] - y[l]), 2) / (2 * n * n);
    } else {
      const std::vector<double> pi = log_softmax(s), q = log_softmax(y);
      for (size_t k = 0; k < s.size(); ++k) x += std::exp(q[k]) * (q[k] - pi[k]);
    }
    return true;
  });
}

// anchor: of the policy to stay near.
inline double list_alignment(const TwoTower<double>& model, const ListBatch<double>& batch, const ListForward& f,
                             const ListForward& anchor) {
  const ModelConfig& config = model.config();
  const double beta = config.alignment_beta;
  return mean_over_rows(f.u.size(), [&](size_t i, double& x) {
    std::vector<double> s, s0, y, y_q, gain;  // y: values over tau_r; _q, s, s0: corrected for the draw
    const std::vector<Entry> list = entries_of(batch, f, i), list0 = entries_of(batch, anchor, i);
    for (size_t k = 0; k < list.size(); ++k) {
      const int64_t at = list[k].at;
      const double log_q = batch.log_q.numel() > 0 ? batch.log_q[at] : 0;
      y.push_back(batch.value[at] / config.reward_temperature());
      y_q.push_back(y.back() - log_q);
      s.push_back(list[k].score - log_q), s0.push_back(list0[k].score - log_q);
      gain.push_back(beta * (list[k].score - list0[k].score));
    }
    const std::vector<double> pi = log_softmax(s), pi0 = log_softmax(s0), q = log_softmax(y_q);
    if (config.alignment == "kl") {
      for (size_t k = 0; k < s.size(); ++k) x += std::exp(q[k]) * (q[k] - pi[k]);
      return true;
    }
    if (config.alignment == "expected_reward") {
      for (size_t k = 0; k < s.size(); ++k) x -= std::exp(pi[k]) * (y[k] - beta * (pi[k] - pi0[k]));
      return true;
    }
    double winners = 0;  // fewer than the model's limit in such short lists: all that have losers
    for (size_t k = 0; k < s.size(); ++k) {
      double losers = 0;
      for (size_t l = 0; l < s.size(); ++l)
        if (y[l] < y[k]) losers += std::exp(gain[l] - gain[k]);
      if (losers > 0) x += std::log1p(losers), ++winners;
    }
    if (winners > 0) x /= winners;
    return winners > 0;
  });
}

// Mean cross-entropy of the light ranker's distilled logits, over all entries and tasks that have a score.
inline double list_ranker(const TwoTower<double>& model, const ListBatch<double>& batch, const ListForward& f) {
  const auto tasks = static_cast<size_t>(model.config().num_tasks()), d = f.v[0].size();
  double sum = 0, count = 0;
  for (size_t i = 0; i < f.u.size(); ++i)
    for (const Entry& entry : entries_of(batch, f, i)) {
      if (std::isnan(batch.ranker_scores.row(entry.at)[0])) continue;
      const std::vector<double>& v = f.v[entry.column];
      std::vector<double> match, aware(d, 0.0), x = v;
      for (size_t k = 0; k < f.ranker[i].size(); k += d)
        match.push_back(
            dot({f.ranker[i].begin() + static_cast<long>(k), f.ranker[i].begin() + static_cast<long>(k + d)}, v));
      const std::vector<double> share = log_softmax(match);
      for (size_t k = 0; k < match.size(); ++k)
        for (size_t j = 0; j < d; ++j) aware[j] += std::exp(share[k]) * f.ranker[i][k * d + j];
      x.insert(x.end(), aware.begin(), aware.end());
      x.insert(x.end(), match.begin(), match.end());
      x.push_back(dot(f.u[i], v));
      const std::vector<double> logits = apply(model, "light_ranker", x);
      for (size_t t = 0; t < tasks; ++t, ++count) sum += bce(logits[tasks + t], batch.ranker_scores.row(entry.at)[t]);
    }
  return sum / count;
}

// anchor: as above; for a model without one, the same of `frozen`, a model that stays as this one is now.
inline ReferenceListLoss reference_list_loss(const TwoTower<double>& model, const ListForward& anchor,
                                             const ListBatch<double>& batch) {
  const ModelConfig& config = model.config();
  const ListForward f = forward(model, batch);
  ReferenceListLoss out;
  if (config.distill_towers != "none") out.towers = config.distill_towers_weight * list_distillation(model, batch, f);
  if (config.distill) out.ranker = config.kd_weight * list_ranker(model, batch, f);
  if (config.aligns_with_model()) out.alignment = config.alignment_weight * list_alignment(model, batch, f, anchor);
  return out;
}

}  // namespace tt::testing
