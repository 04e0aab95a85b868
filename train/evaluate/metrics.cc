#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/baselines/baseline.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/evaluate/examination.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/rankings/baseline_ranking.h>
#include <twotower/train/evaluate/rankings/rankings.h>
#include <twotower/train/evaluate/shown_order.h>
#include <twotower/train/evaluate/text_table.h>
#include <twotower/train/evaluate/user_measures.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <sstream>

namespace tt {
namespace {

constexpr int64_t kTile = 1024;  // users at a time
constexpr double kRecent = 0.1;  // of the time that train spans

bool in(std::span<const int32_t> sorted, int32_t item) {
  return std::binary_search(sorted.begin(), sorted.end(), item);
}

bool has_logged_scores(const Dataset& data, const EvaluateOptions& options) {
  return options.truth && data.split(options.split).ranker_scores != nullptr;
}

bool has_truth(const Dataset& data, const EvaluateOptions& options) { return options.truth && data.has_truth(); }

// What the measures over all users at once are made of, at one K.
struct PoolAtK {
  double hits = 0, expected = 0;          // over all users' test items
  double weighted_hits = 0, weights = 0;  // the same, each counted by its weight
  double covered = 0, items = 0;          // of the corpus
};

// Those measures, each with its name.
struct PooledMeasure {
  const char* name;
  bool needs_positions;
  double (*value)(const PoolAtK&);
};
constexpr PooledMeasure kPooled[] = {
    {"accuracy@", false, [](const PoolAtK& p) { return p.hits / p.expected; }},
    {"ips_recall@", true, [](const PoolAtK& p) { return p.weighted_hits / p.weights; }},
    {"coverage@", false, [](const PoolAtK& p) { return p.covered / p.items; }},
};

template <class F>
void for_each_pooled(const Dataset& data, const std::vector<int64_t>& ks, F f) {
  for (const PooledMeasure& m : kPooled)
    for (size_t j = 0; (!m.needs_positions || data.has_positions()) && j < ks.size(); ++j)
      f(m.name + std::to_string(ks[j]), m, j);
}

// The items on offer that each user acted on in the split, less those of `seen`: what may be returned may be expected.
UserItems expected_items(const Dataset& data, Split split, const UserItems* seen) {
  UserItems acted = data.positives(split);
  UserItems fresh;
  fresh.offsets.push_back(0);
  for (int64_t u = 0; u < data.num_users(); ++u) {
    for (const int32_t item : acted.of(u))
      if (data.available(item) && !(seen && in(seen->of(u), item))) fresh.items.push_back(item);
    fresh.offsets.push_back(static_cast<int64_t>(fresh.items.size()));
  }
  return fresh;
}

// Their names in the order in which they are measured.
std::vector<std::string> chosen_baselines(const Dataset& data, const EvaluateOptions& options) {
  std::vector<std::string> out;
  if (!options.baselines) return out;
  if (options.baseline_names.empty()) {
    out.push_back("popularity");
    if (data.later_than_train(options.split))
      out.push_back("recent");  // what was liked lately may be what is liked next
    out.push_back("random");
    return out;
  }
  return choose_baselines(options.baseline_names, data, options.note);
}

}  // namespace

std::vector<std::string> measure_names(const Dataset& data, const EvaluateOptions& options) {
  const CorpusFacts facts(data, false);
  std::vector<std::string> names =
      UserMeasures(facts, options.ks, has_truth(data, options), has_logged_scores(data, options)).names();
  for_each_pooled(data, options.ks, [&](const std::string& name, auto&, size_t) { names.push_back(name); });
  return names;
}

// What stays the same from one evaluation of a split to the next.
struct Evaluator::State {
  State(const Dataset& dataset, const EvaluateOptions& opts)
      : data(dataset), options(opts), facts(dataset, opts.truth) {}

  // What all users together got, by K.
  struct Pool {
    std::vector<PoolAtK> at;
    std::vector<uint8_t> returned;  // [ks, C] 1: to anyone
  };

  void choose_users();
  void weigh_expected(const ExaminationCurve& examination);
  std::string protocol() const;
  Measures measure(Ranking& ranking, std::vector<float>& per_user) const;
  void add_baselines(EvaluationResult& result) const;
  void measure_tile(Ranking& ranking, int64_t lo, int64_t n, float* values, Pool& pool) const;

  const Dataset& data;
  EvaluateOptions options;
  CorpusFacts facts;
  UserItems seen, expected;
  std::vector<double> expected_weight;  // of each of expected.items, for ips_recall@
  std::vector<UserMoment> users;        // who is evaluated, as of when
  std::optional<ShownItems> shown;
  std::vector<std::string> baselines;
  std::optional<UserMeasures> measures;
  int64_t deepest = 0;
};

bool can_evaluate(const Dataset& data, Split split, bool include_seen) {
  if (data.split(split).size == 0) return false;
  const UserItems seen = include_seen ? UserItems() : data.seen_before(split);
  return !expected_items(data, split, include_seen ? nullptr : &seen).items.empty();
}

void Evaluator::State::choose_users() {
  const Impressions& log = data.split(options.split);
  if (!options.include_seen) seen = data.seen_before(options.split);
  expected = expected_items(data, options.split, options.include_seen ? nullptr : &seen);
  constexpr auto latest = std::numeric_limits<double>::max();
  std::vector<UserMoment> first(static_cast<size_t>(data.num_users()),
                                {-1, std::numeric_limits<int64_t>::max(), latest});
  for (int64_t i = 0; i < log.size; ++i) {
    UserMoment& moment = first[static_cast<size_t>(log.user[i])];
    moment = {log.user[i], std::min<int64_t>(moment.history_end, log.history_end[i]),
              std::min(moment.time, log.time[i])};
  }
  for (int64_t u = 0; u < data.num_users(); ++u)
    if (!expected.of(u).empty()) users.push_back(first[static_cast<size_t>(u)]);
  check(!users.empty(), "evaluate", "the ", split_name(options.split), " split of ", data.dir(),
        " has no user with an item acted on", options.include_seen ? "" : " and not seen before",
        "; choose another --split, or import with one");
  const auto all = static_cast<int64_t>(users.size());
  if (options.max_users > 0 && options.max_users < all) {
    for (int64_t i = 0; i < options.max_users; ++i)
      users[static_cast<size_t>(i)] = users[static_cast<size_t>(i * all / options.max_users)];
    users.resize(static_cast<size_t>(options.max_users));
  }
}

// One over the examination of each slot in which the user acted on the item.
void Evaluator::State::weigh_expected(const ExaminationCurve& examination) {
  expected_weight.assign(expected.items.size(), 0);
  const Impressions& log = data.split(options.split);
  const int64_t tasks = data.num_tasks();
  for (int64_t i = 0; i < log.size; ++i) {
    if (!acted_on(log.labels + i * tasks, tasks)) continue;
    const auto list = expected.of(log.user[i]);
    const auto at = std::lower_bound(list.begin(), list.end(), log.item[i]);
    if (at == list.end() || *at != log.item[i]) continue;
    expected_weight[static_cast<size_t>(&*at - expected.items.data())] += 1 / examination.of(log.position[i]);
  }
}

std::string Evaluator::State::protocol() const {
  std::ostringstream text;
  text << split_name(options.split) << " split (" << data.protocol() << "); " << users.size()
       << " users with at least one item acted on" << (options.max_users > 0 ? " (a sample)" : "")
       << "; full corpus of " << data.num_available() << " items" << (data.available() ? " on offer" : "")
       << ", no sampling; "
       << (options.include_seen ? "items seen in the splits before are kept"
                                : "items seen in the splits before are neither returned nor expected")
       << "; each user with the history before the first impression of the split; recall@K is hits / number of the "
          "user's test items; averages over users";
  return text.str();
}

// values: [n, measures], a row a user.
void Evaluator::State::measure_tile(Ranking& ranking, int64_t lo, int64_t n, float* values, Pool& pool) const {
  const std::span<const UserMoment> tile(users.data() + lo, static_cast<size_t>(n));
  const UserItems* leave_out = options.include_seen ? nullptr : &seen;
  TopItems top;
  ranking.top(tile, deepest, leave_out, top);

  // The first hit's place: among those returned, or else asked of the ranking.
  std::vector<int64_t> rank(static_cast<size_t>(n), 0), missed, after;
  std::vector<UserMoment> missed_users;
  SkipRows relevant;
  relevant.clear();
  for (int64_t i = 0; i < n; ++i) {
    const auto test_items = expected.of(tile[static_cast<size_t>(i)].user);
    const auto items = top.items(i);
    const double* weight = expected_weight.data() + (test_items.data() - expected.items.data());
    for (PoolAtK& p : pool.at) {
      p.expected += static_cast<double>(test_items.size());
      p.weights += std::accumulate(weight, weight + test_items.size(), 0.0);
    }
    for (size_t r = 0; r < items.size(); ++r) {
      const auto at = std::lower_bound(test_items.begin(), test_items.end(), static_cast<int32_t>(items[r]));
      const bool hit = at != test_items.end() && *at == items[r];
      if (hit && rank[static_cast<size_t>(i)] == 0) rank[static_cast<size_t>(i)] = static_cast<int64_t>(r) + 1;
      for (size_t j = 0; j < options.ks.size(); ++j) {
        if (r >= static_cast<size_t>(options.ks[j])) continue;
        pool.returned[j * static_cast<size_t>(facts.items) + static_cast<size_t>(items[r])] = 1;
        if (hit) pool.at[j].hits += 1, pool.at[j].weighted_hits += weight[at - test_items.begin()];
      }
    }
    if (rank[static_cast<size_t>(i)] > 0) continue;
    missed.push_back(i);
    missed_users.push_back(tile[static_cast<size_t>(i)]);
    after.push_back(static_cast<int64_t>(items.size()));
    relevant.rows.insert(relevant.rows.end(), test_items.begin(), test_items.end());
    relevant.offsets.push_back(static_cast<int64_t>(relevant.rows.size()));
  }
  if (!missed.empty()) {
    std::vector<int64_t> ranks(missed.size());
    ranking.first_ranks(missed_users, relevant, leave_out, after, ranks.data());
    for (size_t i = 0; i < missed.size(); ++i) rank[static_cast<size_t>(missed[i])] = ranks[i];
  }

  std::vector<UserResult> results;
  for (int64_t i = 0; i < n; ++i) {
    const auto [user, history_end, time] = tile[static_cast<size_t>(i)];
    results.push_back({user, time, top.items(i), expected.of(user),
                       leave_out ? leave_out->of(user) : std::span<const int32_t>(), rank[static_cast<size_t>(i)],
                       options.shown ? shown->order(ranking, tile[static_cast<size_t>(i)]) : ShownOrder()});
  }
  const auto width = static_cast<int64_t>(measures->names().size());
  parallel_for(0, n, 32, [&](int64_t begin, int64_t end) {
    UserMeasures::Scratch scratch;
    for (int64_t i = begin; i < end; ++i)
      measures->values(results[static_cast<size_t>(i)], scratch, values + i * width);
  });
}

// per_user: receives [users, measures].
Measures Evaluator::State::measure(Ranking& ranking, std::vector<float>& per_user) const {
  const std::vector<std::string>& names = measures->names();
  const size_t width = names.size();
  Pool pool;
  pool.at.resize(options.ks.size());
  pool.returned.assign(options.ks.size() * static_cast<size_t>(facts.items), 0);
  std::vector<double> sum(width, 0);
  std::vector<int64_t> count(width, 0);
  std::vector<float> values;
  const auto n = static_cast<int64_t>(users.size());
  per_user.reserve(users.size() * width);
  for (int64_t lo = 0; lo < n; lo += kTile) {
    const int64_t size = std::min(kTile, n - lo);
    values.resize(static_cast<size_t>(size) * width);
    measure_tile(ranking, lo, size, values.data(), pool);
    for (size_t i = 0; i < values.size(); ++i)
      if (!std::isnan(values[i])) sum[i % width] += static_cast<double>(values[i]), ++count[i % width];
    per_user.insert(per_user.end(), values.begin(), values.end());
  }
  for (size_t j = 0; j < pool.at.size(); ++j) {
    const auto row = pool.returned.begin() + static_cast<int64_t>(j) * facts.items;
    pool.at[j].covered = static_cast<double>(std::count(row, row + facts.items, 1));
    pool.at[j].items = static_cast<double>(data.num_available());
  }
  Measures out;
  for (size_t c = 0; c < width; ++c)
    if (count[c] > 0) out.set(names[c], sum[c] / static_cast<double>(count[c]));
  for_each_pooled(data, options.ks, [&](const std::string& name, const PooledMeasure& m, size_t j) {
    out.set(name, m.value(pool.at[j]));
  });
  return out;
}

Evaluator::Evaluator(const Dataset& data, const EvaluateOptions& options) {
  check(!options.ks.empty(), "evaluate", "no K is given; give at least one, such as --k 10,20,100");
  for (const int64_t k : options.ks) {
    check(k >= 1, "evaluate", "K = ", k, "; ask for at least 1 item");
    check(k <= data.num_available(), "evaluate", "K = ", k, " is larger than the corpus of ", data.num_available(),
          " items; ask for at most so many");
  }
  state_ = std::make_unique<State>(data, options);
  state_->baselines = chosen_baselines(data, options);
  std::vector<int64_t>& ks = state_->options.ks;
  std::sort(ks.begin(), ks.end());
  ks.erase(std::unique(ks.begin(), ks.end()), ks.end());
  state_->deepest = ks.back();
  state_->measures.emplace(state_->facts, ks, has_truth(data, options), has_logged_scores(data, options));
  state_->choose_users();
  const ExaminationCurve examination = estimate_examination(data);
  state_->weigh_expected(examination);
  state_->shown.emplace(data, options.split, state_->facts.weights, examination, has_logged_scores(data, options));
}

Evaluator::~Evaluator() = default;

int64_t Evaluator::users() const { return static_cast<int64_t>(state_->users.size()); }

bool Evaluator::has_logged_pairs() const {
  return std::any_of(state_->users.begin(), state_->users.end(),
                     [&](const UserMoment& user) { return state_->shown->scores_differ(user.user); });
}

bool Evaluator::has_label_pairs() const {
  return std::any_of(state_->users.begin(), state_->users.end(),
                     [&](const UserMoment& user) { return state_->shown->labels_differ(user.user); });
}

void Evaluator::State::add_baselines(EvaluationResult& result) const {
  for (const std::string& name : baselines) {
    const auto begin = std::chrono::steady_clock::now();
    std::unique_ptr<Baseline> learns = make_baseline(name, options.baseline_options);
    std::unique_ptr<Ranking> ranking;
    if (learns) {
      if (const std::string note = baseline_note(name, data); options.note && !note.empty()) options.note(note);
      learns->fit(data);
      ranking = std::make_unique<BaselineRanking>(*learns, data);
    } else if (name == "random") {
      ranking = std::make_unique<RandomRanking>(data, options.seed);
    } else {
      ranking = std::make_unique<PopularityRanking>(data, name == "recent" ? kRecent : 1.0);
    }
    const auto fitted = std::chrono::steady_clock::now();
    std::vector<float> per_user;
    result.baselines.emplace_back(name, measure(*ranking, per_user));
    if (options.intervals)
      result.differences.push_back(
          paired_differences(result.per_user, per_user, measures->names(), options.resamples, options.seed));
    const auto seconds = [](auto a, auto b) {
      return decimals(std::chrono::duration<double>(b - a).count(), 1) + " s";
    };
    if (options.note)
      options.note(name + ": fitted in " + seconds(begin, fitted) + ", measured in " +
                   seconds(fitted, std::chrono::steady_clock::now()));
  }
}

EvaluationResult Evaluator::run(const ServedDataset& served) const {
  const State& s = *state_;
  EvaluationResult result;
  result.protocol = s.protocol();
  const Ask ask = s.options.ask();
  if (served.recommender().reranks(ask))
    result.protocol += "; the light ranker orders the best " + std::to_string(served.recommender().most(ask)) +
                       " by inner product, and mrr is 0 beyond the first " + std::to_string(s.deepest);
  else if (served.has_light_ranker())
    result.protocol += "; the towers alone: by inner product, the light ranker left out";
  result.users = static_cast<int64_t>(s.users.size());
  result.per_user_names = s.measures->names();
  for (const UserMoment& user : s.users) result.user_rows.push_back(user.user);
  ModelRanking model(served, ask);
  result.measures = s.measure(model, result.per_user);
  s.add_baselines(result);
  if (s.options.intervals)
    result.intervals = bootstrap_means(result.per_user, s.measures->names(), s.options.resamples, s.options.seed);
  return result;
}

EvaluationResult evaluate(const ServedDataset& served, const EvaluateOptions& options) {
  return Evaluator(served.data(), options).run(served);
}

}  // namespace tt
