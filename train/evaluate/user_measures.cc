#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/evaluate/statistics.h>
#include <twotower/train/evaluate/user_measures.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tt {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double discount(int64_t rank) { return 1 / std::log2(static_cast<double>(rank) + 1); }  // rank from 1

double ratio(double part, double whole) { return whole > 0 ? part / whole : kNone; }

// Every measure: its name, what it needs, and its value. N is kFunnelN, or K where that is less.
struct Definition {
  enum Form { at_k, at_n_of_k, once };               // name@K, name@N:K, name
  enum Needs { anything, larger_k, truth, logged };  // larger_k: the truth, and K > N
  const char *name, *part;                           // part: after the K
  Form form;
  Needs needs;
  double (*value)(const UserAtK&);
};
using U = UserAtK;
double all(const double (&kinds)[3]) { return kinds[U::head] + kinds[U::tail] + kinds[U::cold]; }
double recall(const U& u) { return ratio(all(u.hits), all(u.expected)); }

constexpr Definition kDefinitions[] = {
    {"recall", "", Definition::at_k, Definition::anything, recall},
    {"ndcg", "", Definition::at_k, Definition::anything, [](const U& u) { return ratio(u.dcg, u.ideal); }},
    {"hit", "", Definition::at_k, Definition::anything, [](const U& u) { return all(u.hits) > 0 ? 1.0 : 0.0; }},
    {"mrr", "", Definition::once, Definition::anything, [](const U& u) { return u.reciprocal_rank; }},
    {"lift", "", Definition::at_k, Definition::anything, [](const U& u) { return u.lift; }},
    {"recall", ".head", Definition::at_k, Definition::anything,
     [](const U& u) { return ratio(u.hits[U::head], u.expected[U::head]); }},
    {"recall", ".tail", Definition::at_k, Definition::anything,
     [](const U& u) { return ratio(u.hits[U::tail], u.expected[U::tail]); }},
    {"recall", ".cold_items", Definition::at_k, Definition::anything,
     [](const U& u) { return ratio(u.hits[U::cold], u.expected[U::cold]); }},
    {"recall", ".cold_users", Definition::at_k, Definition::anything,
     [](const U& u) { return u.warm_user ? kNone : recall(u); }},
    {"agreement", "", Definition::at_k, Definition::truth, [](const U& u) { return u.agreement; }},
    {"agreement", "", Definition::at_n_of_k, Definition::larger_k, [](const U& u) { return u.agreement_n; }},
    {"funnel_value", "", Definition::at_n_of_k, Definition::truth, [](const U& u) { return u.funnel_value; }},
    {"true_funnel_value", "", Definition::at_n_of_k, Definition::truth, [](const U& u) { return u.true_funnel_value; }},
    {"kendall", "", Definition::at_k, Definition::truth, [](const U& u) { return u.kendall; }},
    {"true_recall", "", Definition::at_k, Definition::truth, [](const U& u) { return u.true_recall; }},
    {"true_ndcg", "", Definition::at_k, Definition::truth, [](const U& u) { return u.true_ndcg; }},
    {"value_lost", "", Definition::at_k, Definition::truth, [](const U& u) { return u.value_lost; }},
    {"label_pairs", "", Definition::once, Definition::anything, [](const U& u) { return u.shown.label_pairs; }},
    {"logged_kendall", "", Definition::once, Definition::logged, [](const U& u) { return u.shown.kendall; }},
    {"logged_pairs", "", Definition::once, Definition::logged, [](const U& u) { return u.shown.pairs; }},
};

}  // namespace

CorpusFacts::CorpusFacts(const Dataset& data, bool with_truth)
    : items(data.num_items()),
      available(data.available()),
      positives(data.train_positives()),
      head(static_cast<size_t>(items), 0),
      warm_user(static_cast<size_t>(data.num_users()), 0),
      weights(data.value_weights()) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < items; ++i) {
    const auto p = static_cast<double>(positives[i]);
    sum += p, squares += p * p;
  }
  if (sum > 0) lift_base = squares / sum;

  std::vector<int64_t> order(static_cast<size_t>(items));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return positives[a] > positives[b]; });
  double covered = 0;
  for (const int64_t i : order) {
    if (covered >= sum / 2) break;
    head[static_cast<size_t>(i)] = 1;
    covered += static_cast<double>(positives[i]);
  }

  const Impressions& train = data.split(Split::train);
  for (int64_t i = 0, tasks = data.num_tasks(); i < train.size; ++i)
    if (acted_on(train.labels + i * tasks, tasks)) warm_user[static_cast<size_t>(train.user[i])] = 1;
  if (with_truth && data.has_truth()) truth.emplace(Truth::load(data));
}

UserMeasures::UserMeasures(const CorpusFacts& facts, std::vector<int64_t> ks, bool truth, bool logged)
    : facts_(facts), ks_(std::move(ks)), truth_(truth) {
  for (const Definition& d : kDefinitions) {
    if (d.needs == Definition::logged ? !logged : d.needs != Definition::anything && !truth) continue;
    for (size_t j = 0; j < ks_.size(); ++j) {
      const int64_t k = ks_[j];
      if (d.needs == Definition::larger_k && k <= kFunnelN) continue;
      if (d.form == Definition::once && j > 0) break;
      std::string name = d.name;
      if (d.form != Definition::once) name += "@";
      if (d.form == Definition::at_n_of_k) name += std::to_string(std::min(kFunnelN, k)) + ":";
      if (d.form != Definition::once) name += std::to_string(k) + d.part;
      names_.push_back(name);
      columns_.push_back({d.value, j});
    }
  }
}

void UserMeasures::values(const UserResult& user, Scratch& scratch, float* out) const {
  scratch.at.assign(ks_.size(), {});
  look_at_accuracy(user, scratch.at);
  if (truth_) look_at_ranker(user, scratch), look_at_truth(user, scratch);
  for (size_t c = 0; c < columns_.size(); ++c)
    out[c] = static_cast<float>(columns_[c].value(scratch.at[columns_[c].k]));
}

void UserMeasures::look_at_accuracy(const UserResult& user, std::vector<UserAtK>& at) const {
  const auto kind_of = [&](int64_t item) {
    if (facts_.head[static_cast<size_t>(item)]) return U::head;
    return facts_.positives[item] > 0 ? U::tail : U::cold;
  };
  for (size_t j = 0; j < ks_.size(); ++j) {
    UserAtK& u = at[j];
    for (const int64_t item : user.expected) u.expected[kind_of(item)] += 1;
    const auto returned = std::min<int64_t>(ks_[j], static_cast<int64_t>(user.returned.size()));
    double popularity = 0;
    for (int64_t r = 0; r < returned; ++r) {
      const int64_t item = user.returned[static_cast<size_t>(r)];
      popularity += static_cast<double>(facts_.positives[item]);
      if (!std::binary_search(user.expected.begin(), user.expected.end(), item)) continue;
      u.hits[kind_of(item)] += 1;
      u.dcg += discount(r + 1);
    }
    for (int64_t r = 1; r <= std::min<int64_t>(ks_[j], static_cast<int64_t>(user.expected.size())); ++r)
      u.ideal += discount(r);
    u.lift = returned > 0 ? ratio(popularity / static_cast<double>(returned), facts_.lift_base) : kNone;
    u.reciprocal_rank = user.first_rank > 0 ? 1.0 / static_cast<double>(user.first_rank) : 0;
    u.warm_user = facts_.warm_user[static_cast<size_t>(user.user)] != 0;
    u.shown = user.shown;
  }
}

namespace {

// The items on offer less the seen ones, by their values: best[r] is the r-th highest, place[item] its place there.
// Returns how many places there are, at most `deepest`.
int64_t order_corpus(const UserResult& user, const uint8_t* available, int64_t deepest, UserMeasures::Scratch& s) {
  for (size_t i = 0; available && i < s.values.size(); ++i)
    if (!available[i]) s.values[i] = std::numeric_limits<float>::quiet_NaN();
  for (const int32_t item : user.seen) s.values[static_cast<size_t>(item)] = std::numeric_limits<float>::quiet_NaN();
  s.place.assign(s.values.size(), std::numeric_limits<int32_t>::max());
  s.rows.resize(static_cast<size_t>(deepest));
  s.best.resize(static_cast<size_t>(deepest));
  const int64_t found = kernels::topk_scores(s.values.data(), static_cast<int64_t>(s.values.size()), deepest, 0,
                                             s.rows.data(), s.best.data());
  for (int64_t r = 0; r < found; ++r)
    s.place[static_cast<size_t>(s.rows[static_cast<size_t>(r)])] = static_cast<int32_t>(r);
  return found;
}

// Of the first `returned` items that the user got, those among the n best of the corpus.
double among_best(const UserResult& user, int64_t returned, int64_t n, const UserMeasures::Scratch& s) {
  double hits = 0;
  for (int64_t r = 0; r < returned; ++r)
    hits += s.place[static_cast<size_t>(user.returned[static_cast<size_t>(r)])] < n;
  return hits;
}

double sum_of(const std::vector<int64_t>& items, const UserMeasures::Scratch& s) {
  double sum = 0;
  for (const int64_t item : items) sum += static_cast<double>(s.values[static_cast<size_t>(item)]);
  return sum;
}

double sum_of_best(int64_t n, const UserMeasures::Scratch& s) {
  return std::accumulate(s.best.begin(), s.best.begin() + n, 0.0);
}

}  // namespace

void UserMeasures::look_at_ranker(const UserResult& user, Scratch& s) const {
  const int64_t deepest = std::max(*std::max_element(ks_.begin(), ks_.end()), kFunnelN);
  s.values.resize(static_cast<size_t>(facts_.items));
  facts_.truth->ranker_values(user.user, user.time, s.values.data());
  const int64_t left = order_corpus(user, facts_.available, deepest, s);
  s.shown.resize(ks_.size());
  for (size_t j = 0; j < ks_.size(); ++j) {
    UserAtK& u = s.at[j];
    const int64_t k = ks_[j], n = std::min(kFunnelN, k);
    const auto returned = std::min<int64_t>(k, static_cast<int64_t>(user.returned.size()));
    s.retrieved.clear(), s.order.clear();
    for (int64_t r = 0; r < returned; ++r) {
      s.retrieved.push_back(s.values[static_cast<size_t>(user.returned[static_cast<size_t>(r)])]);
      s.order.push_back(-static_cast<float>(r));
    }
    u.agreement = ratio(among_best(user, returned, k, s), static_cast<double>(std::min(k, left)));
    u.agreement_n = ratio(among_best(user, returned, n, s), static_cast<double>(std::min(n, left)));
    u.kendall = kendall_tau(s.order.data(), s.retrieved.data(), returned);
    // What the ranker shows of those: the N that it values most, ties by smaller row.
    std::vector<int64_t>& shown = s.shown[j];
    shown.assign(user.returned.begin(), user.returned.begin() + returned);
    std::sort(shown.begin(), shown.end(), [&](int64_t a, int64_t b) {
      const float x = s.values[static_cast<size_t>(a)], y = s.values[static_cast<size_t>(b)];
      return x != y ? x > y : a < b;
    });
    shown.resize(static_cast<size_t>(std::min(n, returned)));
    u.funnel_value = ratio(sum_of(shown, s), sum_of_best(std::min(n, left), s));
  }
}

void UserMeasures::look_at_truth(const UserResult& user, Scratch& s) const {
  const int64_t deepest = std::max(*std::max_element(ks_.begin(), ks_.end()), kTrueRelevant);
  s.values.resize(static_cast<size_t>(facts_.items));
  facts_.truth->true_values(user.user, user.time, s.values.data());
  const int64_t left = order_corpus(user, facts_.available, deepest, s);
  for (size_t j = 0; j < ks_.size(); ++j) {
    const auto returned = std::min<int64_t>(ks_[j], static_cast<int64_t>(user.returned.size()));
    double dcg = 0, ideal = 0, kept = 0;
    for (int64_t r = 0; r < returned; ++r) {
      const auto value = static_cast<double>(s.values[static_cast<size_t>(user.returned[static_cast<size_t>(r)])]);
      kept += value, dcg += value * discount(r + 1);
    }
    for (int64_t r = 0; r < std::min(ks_[j], left); ++r)
      ideal += static_cast<double>(s.best[static_cast<size_t>(r)]) * discount(r + 1);
    s.at[j].true_recall =
        ratio(among_best(user, returned, kTrueRelevant, s), static_cast<double>(std::min(kTrueRelevant, left)));
    s.at[j].true_ndcg = ratio(dcg, ideal);
    s.at[j].value_lost = 1 - ratio(kept, sum_of_best(std::min(ks_[j], left), s));
    s.at[j].true_funnel_value = ratio(sum_of(s.shown[j], s), sum_of_best(std::min({kFunnelN, ks_[j], left}), s));
  }
}

}  // namespace tt
