#include <twotower/train/evaluate/shown_order.h>
#include <twotower/train/evaluate/statistics.h>

#include <algorithm>
#include <numeric>

namespace tt {
ShownItems::ShownItems(const Dataset& data, Split split, std::vector<float> weights, ExaminationCurve examination,
                       bool scores)
    : log_(data.split(split)),
      weights_(std::move(weights)),
      examination_(std::move(examination)),
      scores_(scores),
      offsets_(static_cast<size_t>(data.num_users()) + 1, 0),
      rows_(static_cast<size_t>(log_.size)) {
  for (int64_t i = 0; i < log_.size; ++i) ++offsets_[static_cast<size_t>(log_.user[i]) + 1];
  for (size_t u = 0; u + 1 < offsets_.size(); ++u) offsets_[u + 1] += offsets_[u];
  std::vector<int64_t> next(offsets_.begin(), offsets_.end() - 1);
  for (int64_t i = 0; i < log_.size; ++i) rows_[static_cast<size_t>(next[static_cast<size_t>(log_.user[i])]++)] = i;
}

float ShownItems::value(const float* columns, int64_t row) const {
  float value = 0;
  for (size_t t = 0; t < weights_.size(); ++t)
    value += weights_[t] * columns[static_cast<size_t>(row) * weights_.size() + t];
  return value;
}

bool ShownItems::differ(const float* columns, int64_t user) const {
  const int64_t begin = offsets_[static_cast<size_t>(user)], end = offsets_[static_cast<size_t>(user) + 1];
  for (int64_t i = begin + 1; i < end; ++i)
    if (value(columns, rows_[static_cast<size_t>(i)]) != value(columns, rows_[static_cast<size_t>(begin)])) return true;
  return false;
}

double ShownItems::label_pairs(const int64_t* rows, const std::vector<float>& labels,
                               const std::vector<float>& model) const {
  std::vector<size_t> by_label(labels.size());
  std::iota(by_label.begin(), by_label.end(), size_t{0});
  std::sort(by_label.begin(), by_label.end(), [&](size_t a, size_t b) { return labels[a] < labels[b]; });
  double right = 0, all = 0;
  std::vector<float> lower;  // the model's scores of those with lower labels, ascending
  for (size_t k = 0, begin = 0; k < by_label.size(); ++k) {
    for (; labels[by_label[begin]] < labels[by_label[k]]; ++begin) {
      const float score = model[by_label[begin]];
      lower.insert(std::upper_bound(lower.begin(), lower.end(), score), score);
    }
    const auto [below, above] = std::equal_range(lower.begin(), lower.end(), model[by_label[k]]);
    const double weight = 1 / examination_.of(log_.position[rows[by_label[k]]]);
    right += weight * (static_cast<double>(below - lower.begin()) + 0.5 * static_cast<double>(above - below));
    all += weight * static_cast<double>(lower.size());
  }
  return all > 0 ? right / all : ShownOrder::kNone;
}

ShownOrder ShownItems::order(Ranking& ranking, const UserMoment& user) const {
  ShownOrder out;
  const int64_t* rows = rows_.data() + offsets_[static_cast<size_t>(user.user)];
  const int64_t n = offsets_[static_cast<size_t>(user.user) + 1] - offsets_[static_cast<size_t>(user.user)];
  std::vector<int64_t> items;
  std::vector<float> labels, scores, model(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    items.push_back(log_.item[rows[i]]);
    labels.push_back(value(log_.labels, rows[i]));
    if (scores_) scores.push_back(value(log_.ranker_scores, rows[i]));
  }
  if (!labels_differ(user.user) && !scores_differ(user.user)) return out;
  if (!ranking.score(user, items, model.data())) return out;
  out.label_pairs = label_pairs(rows, labels, model);
  if (!scores_) return out;
  const PairCounts pairs = count_pairs(model.data(), scores.data(), n);
  const int64_t different = pairs.concordant + pairs.discordant + pairs.tied_a;
  out.kendall = kendall_tau(model.data(), scores.data(), n);
  if (different > 0)
    out.pairs = (static_cast<double>(pairs.concordant) + 0.5 * static_cast<double>(pairs.tied_a)) /
                static_cast<double>(different);
  return out;
}

}  // namespace tt
