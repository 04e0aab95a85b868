#include <twotower/tensor/error.h>
#include <twotower/tensor/parallel.h>
#include <twotower/tensor/text.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/rankings.h>
#include <twotower/train/evaluate/user_measures.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace tt {
namespace {

constexpr int64_t kTile = 1024;  // users at a time
constexpr double kRecent = 0.1;  // of the time that train spans
constexpr const char* kLogged[] = {"logged_kendall", "logged_pairs"};
constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

bool in(std::span<const int32_t> sorted, int32_t item) {
  return std::binary_search(sorted.begin(), sorted.end(), item);
}

bool has_logged_scores(const Dataset& data, const EvaluateOptions& options) {
  return options.truth && data.split(options.split).ranker_scores != nullptr;
}

std::vector<std::string> value_names(const Dataset& data, const EvaluateOptions& options) {
  std::vector<std::string> names = accuracy_names(options.ks);
  if (options.truth && data.has_truth())
    for (const std::string& name : truth_names(options.ks)) names.push_back(name);
  if (has_logged_scores(data, options)) names.insert(names.end(), std::begin(kLogged), std::end(kLogged));
  return names;
}

}  // namespace

void Measures::set(const std::string& name, double value) {
  for (auto& [known, old] : values_)
    if (known == name) {
      old = value;
      return;
    }
  values_.emplace_back(name, value);
}

bool Measures::has(const std::string& name) const {
  return std::any_of(values_.begin(), values_.end(), [&](const auto& entry) { return entry.first == name; });
}

double Measures::operator[](const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& [known, value] : values_) {
    if (known == name) return value;
    names.push_back(known);
  }
  const std::string nearest = nearest_name(name, names);
  fail("evaluate", "there is no measure \"", name, "\"",
       nearest.empty() ? "; `twotower evaluate` prints those there are" : "; did you mean \"" + nearest + "\"?");
}

bool lower_is_better(const std::string& measure) { return measure.find("value_lost") != std::string::npos; }

std::vector<int64_t> default_ks(int64_t items) {
  std::vector<int64_t> ks;
  for (const int64_t k : {10, 20, 100})
    if (k <= items) ks.push_back(k);
  if (ks.empty()) ks.push_back(std::max<int64_t>(1, items / 2));
  return ks;
}

std::vector<std::string> measure_names(const Dataset& data, const EvaluateOptions& options) {
  std::vector<std::string> names = value_names(data, options);
  for (const char* pooled : {"accuracy@", "coverage@"})
    for (const int64_t k : options.ks) names.push_back(pooled + std::to_string(k));
  return names;
}

// What stays the same from one evaluation of a split to the next.
struct Evaluator::State {
  State(const Dataset& dataset, const EvaluateOptions& opts)
      : data(dataset), options(opts), facts(dataset, opts.truth) {}

  void choose_users();
  void index_impressions();
  std::string protocol() const;
  Measures measure(Ranking& ranking, EvaluationResult* keep) const;
  void measure_tile(Ranking& ranking, int64_t lo, int64_t n, float* values, std::vector<uint8_t>& returned) const;
  void logged(Ranking& ranking, int64_t at, float* out) const;

  const Dataset& data;
  EvaluateOptions options;
  CorpusFacts facts;
  UserItems seen, expected;
  std::vector<UserMoment> users;                         // who is evaluated, as of when
  std::vector<int64_t> impression_offsets, impressions;  // rows of the split by user, if it has ranker scores
  std::vector<std::string> names;
  int64_t deepest = 0;
};

void Evaluator::State::choose_users() {
  const Impressions& log = data.split(options.split);
  expected = data.positives(options.split);
  if (!options.include_seen) {
    seen = data.seen_before(options.split);
    UserItems fresh;  // what may be returned may be expected
    fresh.offsets.push_back(0);
    for (int64_t u = 0; u < data.num_users(); ++u) {
      for (const int32_t item : expected.of(u))
        if (!in(seen.of(u), item)) fresh.items.push_back(item);
      fresh.offsets.push_back(static_cast<int64_t>(fresh.items.size()));
    }
    expected = std::move(fresh);
  }
  std::vector<int64_t> first(static_cast<size_t>(data.num_users()), std::numeric_limits<int64_t>::max());
  for (int64_t i = 0; i < log.size; ++i) {
    int64_t& end = first[static_cast<size_t>(log.user[i])];
    end = std::min<int64_t>(end, log.history_end[i]);
  }
  for (int64_t u = 0; u < data.num_users(); ++u)
    if (!expected.of(u).empty()) users.push_back({u, first[static_cast<size_t>(u)]});
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

void Evaluator::State::index_impressions() {
  if (!has_logged_scores(data, options)) return;
  const Impressions& log = data.split(options.split);
  impression_offsets.assign(static_cast<size_t>(data.num_users()) + 1, 0);
  for (int64_t i = 0; i < log.size; ++i) ++impression_offsets[static_cast<size_t>(log.user[i]) + 1];
  for (size_t u = 0; u + 1 < impression_offsets.size(); ++u) impression_offsets[u + 1] += impression_offsets[u];
  impressions.resize(static_cast<size_t>(log.size));
  std::vector<int64_t> next(impression_offsets.begin(), impression_offsets.end() - 1);
  for (int64_t i = 0; i < log.size; ++i) impressions[static_cast<size_t>(next[static_cast<size_t>(log.user[i])]++)] = i;
}

std::string Evaluator::State::protocol() const {
  std::ostringstream text;
  text << split_name(options.split) << " split (" << data.protocol() << "); " << users.size()
       << " users with at least one item acted on" << (options.max_users > 0 ? " (a sample)" : "")
       << "; full corpus of " << facts.items << " items, no sampling; "
       << (options.include_seen ? "items seen in the splits before are kept"
                                : "items seen in the splits before are neither returned nor expected")
       << "; each user with the history before the first impression of the split; recall@K is hits / number of the "
          "user's test items; averages over users";
  return text.str();
}

// Agreement with the logged scores of the main ranker on what the user was shown.
void Evaluator::State::logged(Ranking& ranking, int64_t at, float* out) const {
  out[0] = out[1] = kNone;
  const Impressions& log = data.split(options.split);
  const UserMoment& user = users[static_cast<size_t>(at)];
  const int64_t lo = impression_offsets[static_cast<size_t>(user.user)];
  const int64_t n = impression_offsets[static_cast<size_t>(user.user) + 1] - lo, tasks = data.num_tasks();
  if (n < 2) return;
  std::vector<int64_t> items;
  std::vector<float> ranker, model(static_cast<size_t>(n));
  for (int64_t i = lo; i < lo + n; ++i) {
    const int64_t row = impressions[static_cast<size_t>(i)];
    items.push_back(log.item[row]);
    float value = 0;
    for (int64_t t = 0; t < tasks; ++t)
      value += facts.weights[static_cast<size_t>(t)] * log.ranker_scores[row * tasks + t];
    ranker.push_back(value);
  }
  if (!ranking.score(user, items, model.data())) return;
  const PairCounts pairs = count_pairs(model.data(), ranker.data(), n);
  const int64_t differ = pairs.concordant + pairs.discordant + pairs.tied_a;
  out[0] = static_cast<float>(kendall_tau(model.data(), ranker.data(), n));
  if (differ > 0) out[1] = static_cast<float>(static_cast<double>(pairs.concordant) / static_cast<double>(differ));
}

// values: [n, names], a row a user. returned: [ks, C], set to 1 where an item was returned to anyone.
void Evaluator::State::measure_tile(Ranking& ranking, int64_t lo, int64_t n, float* values,
                                    std::vector<uint8_t>& returned) const {
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
    for (size_t r = 0; r < items.size() && rank[static_cast<size_t>(i)] == 0; ++r)
      if (in(test_items, static_cast<int32_t>(items[r]))) rank[static_cast<size_t>(i)] = static_cast<int64_t>(r) + 1;
    for (size_t j = 0; j < options.ks.size(); ++j)
      for (size_t r = 0; r < std::min(items.size(), static_cast<size_t>(options.ks[j])); ++r)
        returned[j * static_cast<size_t>(facts.items) + static_cast<size_t>(items[r])] = 1;
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

  const auto width = static_cast<int64_t>(names.size());
  const auto accuracy_width = static_cast<int64_t>(accuracy_names(options.ks).size());
  parallel_for(0, n, 32, [&](int64_t begin, int64_t end) {
    TruthScratch scratch;
    std::vector<int64_t> test_items;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t user = tile[static_cast<size_t>(i)].user;
      const auto list = expected.of(user);
      test_items.assign(list.begin(), list.end());
      const UserResult result{user, top.items(i), test_items,
                              leave_out ? leave_out->of(user) : std::span<const int32_t>(),
                              rank[static_cast<size_t>(i)]};
      accuracy_values(facts, options.ks, result, values + i * width);
      if (facts.truth) truth_values(facts, options.ks, result, scratch, values + i * width + accuracy_width);
    }
  });
  if (!impressions.empty())
    for (int64_t i = 0; i < n; ++i) logged(ranking, lo + i, values + (i + 1) * width - 2);
}

Measures Evaluator::State::measure(Ranking& ranking, EvaluationResult* keep) const {
  const size_t width = names.size();
  std::vector<uint8_t> returned(options.ks.size() * static_cast<size_t>(facts.items), 0);
  std::vector<double> sum(width, 0), hits(options.ks.size(), 0);
  double test_items = 0;
  std::vector<int64_t> count(width, 0);
  std::vector<float> values;
  const auto n = static_cast<int64_t>(users.size());
  if (keep) keep->per_user.reserve(users.size() * width);
  for (int64_t lo = 0; lo < n; lo += kTile) {
    const int64_t size = std::min(kTile, n - lo);
    values.assign(static_cast<size_t>(size) * width, kNone);
    measure_tile(ranking, lo, size, values.data(), returned);
    for (size_t i = 0; i < values.size(); ++i)
      if (!std::isnan(values[i])) sum[i % width] += values[i], ++count[i % width];
    for (int64_t i = 0; i < size; ++i) {  // recall@K stands first
      const auto own = static_cast<double>(expected.of(users[static_cast<size_t>(lo + i)].user).size());
      test_items += own;
      for (size_t j = 0; j < hits.size(); ++j)
        hits[j] += own * static_cast<double>(values[static_cast<size_t>(i) * width + j]);
    }
    if (keep) keep->per_user.insert(keep->per_user.end(), values.begin(), values.end());
  }
  Measures out;
  for (size_t c = 0; c < width; ++c) {
    if (count[c] > 0) out.set(names[c], sum[c] / static_cast<double>(count[c]));
    if (names[c] == "mrr") {
      for (size_t j = 0; j < options.ks.size(); ++j)
        out.set("accuracy@" + std::to_string(options.ks[j]), hits[j] / test_items);
      for (size_t j = 0; j < options.ks.size(); ++j) {
        const auto row = returned.begin() + static_cast<int64_t>(j) * facts.items;
        out.set("coverage@" + std::to_string(options.ks[j]),
                static_cast<double>(std::count(row, row + facts.items, 1)) / static_cast<double>(facts.items));
      }
    }
  }
  return out;
}

Evaluator::Evaluator(const Dataset& data, const EvaluateOptions& options) {
  check(!options.ks.empty(), "evaluate", "no K is given; give at least one, such as --k 10,20,100");
  for (const int64_t k : options.ks) {
    check(k >= 1, "evaluate", "K = ", k, "; ask for at least 1 item");
    check(k <= data.num_items(), "evaluate", "K = ", k, " is larger than the corpus of ", data.num_items(),
          " items; ask for at most so many");
  }
  state_ = std::make_unique<State>(data, options);
  std::vector<int64_t>& ks = state_->options.ks;
  std::sort(ks.begin(), ks.end());
  ks.erase(std::unique(ks.begin(), ks.end()), ks.end());
  state_->deepest = ks.back();
  state_->names = value_names(data, state_->options);
  state_->choose_users();
  state_->index_impressions();
}

Evaluator::~Evaluator() = default;

EvaluationResult Evaluator::run(Retriever& retriever) const {
  const State& s = *state_;
  EvaluationResult result;
  result.protocol = s.protocol();
  if (retriever.has_light_ranker())
    result.protocol += "; the light ranker orders the best " +
                       std::to_string(std::max(s.deepest, retriever.model().config().num_mips_items)) +
                       " by inner product, and mrr is 0 beyond the first " + std::to_string(s.deepest);
  result.users = static_cast<int64_t>(s.users.size());
  result.per_user_names = s.names;
  for (const UserMoment& user : s.users) result.user_rows.push_back(user.user);
  ModelRanking model(retriever);
  result.measures = s.measure(model, &result);
  if (s.options.baselines) {
    PopularityRanking popularity(s.data);
    result.baselines.emplace_back("popularity", s.measure(popularity, nullptr));
    if (s.data.later_than_train(s.options.split)) {  // what was liked lately may be what is liked next
      PopularityRanking recent(s.data, kRecent);
      result.baselines.emplace_back("popularity_recent", s.measure(recent, nullptr));
    }
    RandomRanking random(s.facts.items, s.options.seed);
    result.baselines.emplace_back("random", s.measure(random, nullptr));
  }
  if (s.options.intervals)
    result.intervals = bootstrap_means(result.per_user, s.names, s.options.resamples, s.options.seed);
  return result;
}

EvaluationResult evaluate(Retriever& retriever, const Dataset& data, const EvaluateOptions& options) {
  return Evaluator(data, options).run(retriever);
}

}  // namespace tt
