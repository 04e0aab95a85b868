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

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

std::string at(const std::string& name, int64_t k) { return name + "@" + std::to_string(k); }
std::string of(const std::string& name, int64_t n, int64_t k) { return at(name, n) + ":" + std::to_string(k); }

double discount(int64_t rank) { return 1 / std::log2(static_cast<double>(rank) + 1); }  // rank from 1

float ratio(double part, double whole) { return whole > 0 ? static_cast<float>(part / whole) : kNone; }

}  // namespace

CorpusFacts::CorpusFacts(const Dataset& data, bool with_truth)
    : items(data.num_items()),
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

std::vector<std::string> accuracy_names(const std::vector<int64_t>& ks) {
  std::vector<std::string> names;
  for (const char* name : {"recall", "ndcg", "hit"})
    for (const int64_t k : ks) names.push_back(at(name, k));
  names.push_back("mrr");
  for (const int64_t k : ks) names.push_back(at("lift", k));
  for (const char* part : {".head", ".tail", ".cold_items", ".cold_users"})
    for (const int64_t k : ks) names.push_back(at("recall", k) + part);
  return names;
}

void accuracy_values(const CorpusFacts& facts, const std::vector<int64_t>& ks, const UserResult& user, float* out) {
  enum Kind { head, tail, cold };
  const auto kind_of = [&](int64_t item) {
    if (facts.head[static_cast<size_t>(item)]) return head;
    return facts.positives[item] > 0 ? tail : cold;
  };
  double expected[3] = {};
  for (const int64_t item : user.expected) expected[kind_of(item)] += 1;
  const auto total = static_cast<double>(user.expected.size());
  const size_t n = ks.size();
  float *recall = out, *ndcg = out + n, *hit = out + 2 * n, *mrr = out + 3 * n, *lift = mrr + 1, *parts = lift + n;

  for (size_t j = 0; j < n; ++j) {
    const auto returned = std::min<int64_t>(ks[j], static_cast<int64_t>(user.returned.size()));
    double hits[3] = {}, dcg = 0, ideal = 0, popularity = 0;
    for (int64_t r = 0; r < returned; ++r) {
      const int64_t item = user.returned[static_cast<size_t>(r)];
      popularity += static_cast<double>(facts.positives[item]);
      if (!std::binary_search(user.expected.begin(), user.expected.end(), item)) continue;
      hits[kind_of(item)] += 1;
      dcg += discount(r + 1);
    }
    for (int64_t r = 1; r <= std::min<int64_t>(ks[j], static_cast<int64_t>(total)); ++r) ideal += discount(r);
    const double all = hits[head] + hits[tail] + hits[cold];
    recall[j] = ratio(all, total);
    ndcg[j] = ratio(dcg, ideal);
    hit[j] = all > 0 ? 1 : 0;
    lift[j] = returned > 0 ? ratio(popularity / static_cast<double>(returned), facts.lift_base) : kNone;
    for (const Kind kind : {head, tail, cold})
      parts[static_cast<size_t>(kind) * n + j] = ratio(hits[kind], expected[kind]);
    parts[3 * n + j] = facts.warm_user[static_cast<size_t>(user.user)] ? kNone : recall[j];
  }
  *mrr = user.first_rank > 0 ? 1.0f / static_cast<float>(user.first_rank) : 0;
}

std::vector<std::string> truth_names(const std::vector<int64_t>& ks) {
  std::vector<std::string> names;
  for (const int64_t k : ks) {
    names.push_back(at("agreement", k));
    if (k > kFunnelN) names.push_back(of("agreement", kFunnelN, k));
    names.push_back(of("ranker_value_lost", std::min(kFunnelN, k), k));
    names.push_back(at("kendall", k));
  }
  for (const int64_t k : ks)
    for (const char* name : {"true_recall", "true_ndcg", "value_lost"}) names.push_back(at(name, k));
  return names;
}

void truth_values(const CorpusFacts& facts, const std::vector<int64_t>& ks, const UserResult& user,
                  TruthScratch& scratch, float* out) {
  const int64_t deepest = std::max(*std::max_element(ks.begin(), ks.end()), kTrueRelevant);
  scratch.values.resize(static_cast<size_t>(facts.items));
  scratch.place.assign(static_cast<size_t>(facts.items), std::numeric_limits<int32_t>::max());
  scratch.rows.resize(static_cast<size_t>(deepest));
  scratch.best.resize(static_cast<size_t>(deepest));
  // After this, best[r] is the r-th highest value of the corpus less the seen items, and place[item] its place there.
  const auto order_corpus = [&] {
    for (const int32_t item : user.seen) scratch.values[static_cast<size_t>(item)] = kNone;  // NaN: never in the top
    const int64_t found =
        kernels::topk_scores(scratch.values.data(), facts.items, deepest, 0, scratch.rows.data(), scratch.best.data());
    for (int64_t r = 0; r < found; ++r)
      scratch.place[static_cast<size_t>(scratch.rows[static_cast<size_t>(r)])] = static_cast<int32_t>(r);
    return found;
  };
  const auto value = [&](int64_t r) {
    return static_cast<double>(scratch.values[static_cast<size_t>(user.returned[static_cast<size_t>(r)])]);
  };
  const auto among_top = [&](int64_t returned, int64_t n) {
    int64_t hits = 0;
    for (int64_t r = 0; r < returned; ++r)
      hits += scratch.place[static_cast<size_t>(user.returned[static_cast<size_t>(r)])] < n;
    return static_cast<double>(hits);
  };

  facts.truth->ranker_values(user.user, scratch.values.data());
  int64_t left = order_corpus();
  std::vector<float> retrieved, order;
  for (const int64_t k : ks) {
    const auto returned = std::min<int64_t>(k, static_cast<int64_t>(user.returned.size()));
    const int64_t n = std::min(kFunnelN, k);
    retrieved.clear(), order.clear();
    for (int64_t r = 0; r < returned; ++r)
      retrieved.push_back(static_cast<float>(value(r))), order.push_back(-static_cast<float>(r));
    *out++ = ratio(among_top(returned, k), static_cast<double>(std::min(k, left)));
    if (k > kFunnelN) *out++ = ratio(among_top(returned, kFunnelN), static_cast<double>(std::min(kFunnelN, left)));
    const float tau = static_cast<float>(kendall_tau(order.data(), retrieved.data(), returned));
    std::sort(retrieved.begin(), retrieved.end(), std::greater<>());
    double kept = 0, whole = 0;
    for (int64_t r = 0; r < std::min(n, returned); ++r) kept += retrieved[static_cast<size_t>(r)];
    for (int64_t r = 0; r < std::min(n, left); ++r) whole += scratch.best[static_cast<size_t>(r)];
    *out++ = 1 - ratio(kept, whole);
    *out++ = tau;
  }

  std::fill(scratch.place.begin(), scratch.place.end(), std::numeric_limits<int32_t>::max());
  facts.truth->true_values(user.user, scratch.values.data());
  left = order_corpus();
  for (const int64_t k : ks) {
    const auto returned = std::min<int64_t>(k, static_cast<int64_t>(user.returned.size()));
    double dcg = 0, ideal = 0, kept = 0, whole = 0;
    for (int64_t r = 0; r < returned; ++r) kept += value(r), dcg += value(r) * discount(r + 1);
    for (int64_t r = 0; r < std::min(k, left); ++r) {
      const double best = scratch.best[static_cast<size_t>(r)];
      whole += best, ideal += best * discount(r + 1);
    }
    *out++ = ratio(among_top(returned, kTrueRelevant), static_cast<double>(std::min(kTrueRelevant, left)));
    *out++ = ratio(dcg, ideal);
    *out++ = 1 - ratio(kept, whole);
  }
}

}  // namespace tt
