#include <twotower/train/data/positives.h>
#include <twotower/train/evaluate/doctor/ranker_check.h>
#include <twotower/train/evaluate/rankings/rankings.h>

#include <algorithm>
#include <numeric>

namespace tt {
namespace {

constexpr size_t kUsers = 2000;  // whose pairs are looked at, at most

struct Row {
  double promised, given;
  double score;
  int64_t shown;  // how often train shows the item
};

Calibration sum(std::span<const Row> rows) {
  Calibration out;
  out.rows = static_cast<int64_t>(rows.size());
  for (const Row& r : rows) out.promised += r.promised, out.given += r.given, out.squares += r.given * r.given;
  return out;
}

template <class Key>
std::array<Calibration, 5> by_fifths(std::vector<Row>& rows, Key key) {
  std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) { return key(a) < key(b); });
  std::array<Calibration, 5> out;
  for (size_t f = 0; f < 5; ++f) {
    const size_t lo = f * rows.size() / 5, hi = (f + 1) * rows.size() / 5;
    out[f] = sum({rows.data() + lo, hi - lo});
  }
  return out;
}

}  // namespace

RankerCalibration calibrate_ranker(const Dataset& data, const ExaminationCurve& examination) {
  std::vector<Row> rows;
  const int64_t tasks = data.num_tasks();
  for (const Split split : {Split::train, Split::valid, Split::test}) {
    const Impressions& log = data.split(split);
    for (int64_t i = 0; log.ranker_scores && i < log.size; ++i) {
      const double score = net_user_value(log.ranker_scores + i * tasks, data.value_weights());
      rows.push_back({examination.of(log.position[i]) * score,
                      net_user_value(log.labels + i * tasks, data.value_weights()), score,
                      data.train_counts()[log.item[i]]});
    }
  }
  RankerCalibration out;
  out.all = sum(rows);
  out.by_popularity = by_fifths(rows, [](const Row& r) { return static_cast<double>(r.shown); });
  out.by_score = by_fifths(rows, [](const Row& r) { return r.score; });
  return out;
}

namespace {

double right_way_round(double better, double worse) { return better > worse ? 1 : better == worse ? 0.5 : 0; }

// One user's pairs: the sum of their weights, and of those that each order has the right way round.
struct UserPairs {
  double weight = 0, ranker = 0, model = 0;
};

// The standard error of sum(part) / sum(weight), users being independent.
template <class Part>
double ratio_error(const std::vector<UserPairs>& users, double ratio, double weight, Part part) {
  double squares = 0;
  for (const UserPairs& u : users) squares += std::pow(part(u) - ratio * u.weight, 2);
  return std::sqrt(squares) / weight;
}

}  // namespace

PairAgreement pair_agreement(const ServedDataset& served, Split split, const Ask& ask,
                             const ExaminationCurve& examination) {
  const Dataset& data = served.data();
  const Impressions& log = data.split(split);
  const std::vector<float>& weights = data.value_weights();
  const int64_t tasks = data.num_tasks();
  const double most = std::accumulate(weights.begin(), weights.end(), 0.0);
  PairAgreement out;
  if (!log.ranker_scores || !(most > 0)) return out;
  std::vector<std::vector<int64_t>> rows_of(static_cast<size_t>(data.num_users()));
  for (int64_t i = 0; i < log.size; ++i) rows_of[static_cast<size_t>(log.user[i])].push_back(i);
  std::vector<size_t> with_value;
  for (size_t u = 0; u < rows_of.size(); ++u)
    if (std::any_of(rows_of[u].begin(), rows_of[u].end(),
                    [&](int64_t i) { return has_value(log.labels + i * tasks, weights); }))
      with_value.push_back(u);

  ModelRanking ranking(served, ask);
  std::vector<UserPairs> users;
  const size_t looked_at = std::min(kUsers, with_value.size());
  for (size_t n = 0; n < looked_at; ++n) {
    const size_t user = with_value[n * with_value.size() / looked_at];
    const std::vector<int64_t>& rows = rows_of[user];
    UserMoment moment{static_cast<int64_t>(user), log.history_end[rows[0]]};
    std::vector<int64_t> items;
    std::vector<double> ranker, worth;  // worth: y / e
    for (const int64_t i : rows) {
      moment.history_end = std::min<int64_t>(moment.history_end, log.history_end[i]);
      items.push_back(log.item[i]);
      ranker.push_back(net_user_value(log.ranker_scores + i * tasks, weights));
      worth.push_back(net_user_value(log.labels + i * tasks, weights) / most / examination.of(log.position[i]));
    }
    std::vector<float> model(items.size());
    ranking.score(moment, items, model.data());
    UserPairs pairs;
    for (size_t i = 0; i < items.size(); ++i)
      for (size_t j = 0; worth[i] > 0 && j < items.size(); ++j) {
        if (items[i] == items[j]) continue;
        const double weight = worth[i] * (1 - worth[j]);
        pairs.weight += weight;
        pairs.ranker += weight * right_way_round(ranker[i], ranker[j]);
        pairs.model += weight * right_way_round(model[i], model[j]);
      }
    if (pairs.weight != 0) users.push_back(pairs);
  }

  UserPairs all;
  for (const UserPairs& u : users) all.weight += u.weight, all.ranker += u.ranker, all.model += u.model;
  if (!(all.weight > 0)) return out;
  out.users = static_cast<int64_t>(users.size());
  out.ranker = all.ranker / all.weight, out.model = all.model / all.weight;
  out.ranker_error = ratio_error(users, out.ranker, all.weight, [](const UserPairs& u) { return u.ranker; });
  out.model_error = ratio_error(users, out.model, all.weight, [](const UserPairs& u) { return u.model; });
  out.difference_error =
      ratio_error(users, out.model - out.ranker, all.weight, [](const UserPairs& u) { return u.model - u.ranker; });
  return out;
}

}  // namespace tt
