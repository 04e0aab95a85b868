#include <doctest/doctest.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/rankings/rankings.h>
#include <twotower/train/evaluate/user_measures.h>
#include <twotower/train/simulate/simulator.h>
#include <twotower/train/simulate/truth.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

double value_of(const std::vector<std::string>& names, const std::vector<float>& values, const std::string& name) {
  const auto at = std::find(names.begin(), names.end(), name);
  REQUIRE(at != names.end());
  return values[static_cast<size_t>(at - names.begin())];
}

// Every user's whole order of the items not seen, by plain sorting; and the averages that follow from it.
struct PlainMeasures {
  double recall = 0, ndcg = 0, hit = 0, mrr = 0, coverage = 0, accuracy = 0;
  int64_t users = 0;
};
PlainMeasures plain_measures(const ServedDataset& served, const Dataset& data, Split split, int64_t k,
                             bool include_seen) {
  PlainMeasures out;
  std::set<int64_t> returned;
  double all_hits = 0, all_wanted = 0;
  const UserItems positives = data.positives(split), seen = data.seen_before(split);
  const int64_t c = data.num_items(), d = served.item_vectors().cols();
  for (int64_t u = 0; u < data.num_users(); ++u) {
    std::set<int64_t> blocked, wanted;
    if (!include_seen) blocked.insert(seen.of(u).begin(), seen.of(u).end());
    for (const int32_t item : positives.of(u))
      if (!blocked.contains(item)) wanted.insert(item);
    if (wanted.empty()) continue;
    ++out.users;
    const Impressions& log = data.split(split);
    int64_t first = 0;
    while (log.user[first] != u) ++first;
    const std::vector<UserMoment> moment = {{u, log.history_end[first]}};
    std::vector<float> vector(static_cast<size_t>(d)), score;
    Session session;
    served.encode(session, moment, vector.data());
    std::vector<int64_t> order;
    for (int64_t i = 0; i < c; ++i) {
      score.push_back(std::inner_product(vector.begin(), vector.end(), served.item_vectors().row(i), 0.0f));
      if (!blocked.contains(i)) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)];
    });
    double hits = 0, dcg = 0, ideal = 0, reciprocal = 0;
    for (size_t r = 0; r < order.size(); ++r) {
      if (r < static_cast<size_t>(k)) returned.insert(order[r]);
      if (!wanted.contains(order[r])) continue;
      if (reciprocal == 0) reciprocal = 1 / static_cast<double>(r + 1);
      if (r < static_cast<size_t>(k)) hits += 1, dcg += 1 / std::log2(static_cast<double>(r) + 2);
    }
    for (size_t r = 0; r < std::min(wanted.size(), static_cast<size_t>(k)); ++r)
      ideal += 1 / std::log2(static_cast<double>(r) + 2);
    out.recall += hits / static_cast<double>(wanted.size());
    out.ndcg += dcg / ideal;
    all_hits += hits, all_wanted += static_cast<double>(wanted.size());
    out.hit += hits > 0;
    out.mrr += reciprocal;
  }
  const auto n = static_cast<double>(out.users);
  out.recall /= n, out.ndcg /= n, out.hit /= n, out.mrr /= n;
  out.accuracy = all_hits / all_wanted;
  out.coverage = static_cast<double>(returned.size()) / static_cast<double>(c);
  return out;
}

}  // namespace

TEST_CASE("metrics: one user by hand") {
  const TempFolder folder;
  const Dataset data = open_written(folder, tiny_content());
  // Training positives: i0 2, i1 2, i2 0, i3 1, i4 1: half of the 6 are i0 and i1, the head; i2 is cold.
  CorpusFacts facts(data, false);
  CHECK(facts.head == std::vector<uint8_t>{1, 1, 0, 0, 0});
  CHECK(facts.lift_base == doctest::Approx((4 + 4 + 1 + 1) / 6.0));
  const std::vector<int64_t> returned = {3, 0, 2, 4};
  const std::vector<int32_t> expected = {0, 1, 2};
  const UserMeasures measures(facts, {1, 3}, false, false);
  const auto& names = measures.names();
  std::vector<float> values(names.size());
  UserMeasures::Scratch scratch;
  measures.values({0, 0, returned, expected, {}, 2, {}}, scratch, values.data());
  const auto value = [&](const std::string& name) { return value_of(names, values, name); };
  CHECK(value("recall@1") == 0);
  CHECK(value("recall@3") == doctest::Approx(2.0 / 3));
  CHECK(value("hit@1") == 0);
  CHECK(value("hit@3") == 1);
  CHECK(value("mrr") == 0.5);
  const double second = 1 / std::log2(3.0), third = 0.5;
  CHECK(value("ndcg@3") == doctest::Approx((second + third) / (1 + second + third)));
  CHECK(value("recall@3.head") == doctest::Approx(0.5));  // i0 of i0, i1
  CHECK(std::isnan(value("recall@3.tail")));              // none was expected
  CHECK(value("recall@3.cold_items") == 1);
  CHECK(std::isnan(value("recall@3.cold_users")));  // ann has training positives
  CHECK(value("lift@3") == doctest::Approx((1 + 2 + 0) / 3.0 / facts.lift_base));
}

TEST_CASE("metrics: tiles and kernels give what plain sorting gives") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(1200, 70, 9));
  ModelConfig config = small_config(data);
  config.history = true;
  const TwoTower<float> model(config);
  const ServedDataset served(model, data);
  for (const bool include_seen : {false, true}) {
    EvaluateOptions options;
    options.ks = {20, 5};
    options.include_seen = include_seen;
    options.intervals = true;
    options.resamples = 200;
    const EvaluationResult result = evaluate(served, options);
    for (const int64_t k : {5, 20}) {
      const PlainMeasures plain = plain_measures(served, data, Split::test, k, include_seen);
      const std::string at = "@" + std::to_string(k);
      CHECK(result.users == plain.users);
      CHECK(result.measures["recall" + at] == doctest::Approx(plain.recall).epsilon(1e-5));
      CHECK(result.measures["ndcg" + at] == doctest::Approx(plain.ndcg).epsilon(1e-5));
      CHECK(result.measures["hit" + at] == doctest::Approx(plain.hit).epsilon(1e-5));
      CHECK(result.measures["accuracy" + at] == doctest::Approx(plain.accuracy).epsilon(1e-5));
      CHECK(result.measures["coverage" + at] == doctest::Approx(plain.coverage));
      CHECK(result.measures["mrr"] == doctest::Approx(plain.mrr).epsilon(1e-4));
    }
    CHECK(result.per_user.size() == result.per_user_names.size() * static_cast<size_t>(result.users));
    for (const Interval& i : result.intervals) {
      CHECK(i.low <= result.measures[i.name]);
      CHECK(i.high >= result.measures[i.name]);
    }
    set_num_threads(1);
    CHECK(evaluate(served, options).per_user[0] == result.per_user[0]);
    CHECK(evaluate(served, options).measures.all() == result.measures.all());
    set_num_threads(2);
  }
}

TEST_CASE("metrics: the baselines") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(900, 50, 5));
  PopularityRanking popularity(data);
  RandomRanking random(data, 4);
  const UserItems seen = data.seen_before(Split::test);
  const std::vector<UserMoment> users = {latest_moment(data, 3), {-1, 0}};
  TopItems top;
  popularity.top(users, 50, &seen, top);
  CHECK(top.counts[0] == 50 - static_cast<int64_t>(seen.of(3).size()));
  CHECK(top.counts[1] == 50);
  for (int64_t q = 0; q < 2; ++q)
    for (size_t r = 0; r + 1 < top.items(q).size(); ++r) {
      const int64_t a = top.items(q)[r], b = top.items(q)[r + 1];
      const int64_t pa = data.train_positives()[a], pb = data.train_positives()[b];
      CHECK((pa > pb || (pa == pb && a < b)));
    }
  // The place of an item in the whole order is where top() has it.
  SkipRows relevant;
  relevant.clear();
  for (int64_t q = 0; q < 2; ++q) relevant.rows.push_back(top.items(q)[11]), relevant.offsets.push_back(q + 1);
  int64_t ranks[2];
  popularity.first_ranks(users, relevant, &seen, {0, 0}, ranks);
  CHECK(ranks[0] == 12);
  CHECK(ranks[1] == 12);

  random.top(users, 50, &seen, top);
  std::set<int64_t> distinct(top.items(0).begin(), top.items(0).end());
  CHECK(static_cast<int64_t>(distinct.size()) == 50 - static_cast<int64_t>(seen.of(3).size()));

  const TwoTower<float> model(small_config(data));
  const ServedDataset served(model, data);
  EvaluateOptions options;
  options.ks = {1, 10};
  options.include_seen = true;
  const EvaluationResult result = evaluate(served, options);
  REQUIRE(result.baselines.size() == 3);  // between them that of late
  CHECK(result.baselines[0].first == "popularity");
  CHECK(result.baselines[0].second["recall@10"] > 0.3);                                 // the low rows are popular
  CHECK(result.baselines[2].second["recall@10"] == doctest::Approx(0.2).epsilon(0.1));  // 10 of 50
  CHECK(result.baselines[2].second["coverage@10"] == 1);
  CHECK(result.baselines[0].second["lift@10"] > result.baselines[2].second["lift@10"]);
  // The first of p items among 50 in random order stands at r with probability C(50 - r, p - 1) / C(50, p).
  double expected = 0;
  const UserItems wanted = data.positives(Split::test);
  for (const int64_t u : result.user_rows) {
    const auto p = static_cast<double>(wanted.of(u).size());
    double none_before = 1;
    for (double r = 1; r <= 50; ++r) {
      const double here = std::min(1.0, p / (50 - r + 1));
      expected += none_before * here / r / static_cast<double>(result.users);
      none_before *= 1 - here;
    }
  }
  CHECK(result.baselines[2].second["mrr"] == doctest::Approx(expected).epsilon(0.1));
}

TEST_CASE("metrics: a light ranker's order is what is measured, cut where it ends") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(200, 60, 5));
  ModelConfig config = small_config(data);
  config.light_ranker = true;
  const TwoTower<float> model(config);
  const ServedDataset served(model, data);
  EvaluateOptions options;
  options.ks = {10};
  options.baselines = false;
  const EvaluationResult result = evaluate(served, options);
  CHECK(result.protocol.find("the light ranker orders the best 12 by inner product") != std::string::npos);
  CHECK(result.measures["mrr"] <= result.measures["hit@10"]);
  CHECK(result.measures["mrr"] * 10 >= result.measures["hit@10"]);

  // Its towers alone are measured as a model without one would be: in the order of inner products, to its end.
  options.rerank = false;
  const EvaluationResult towers = evaluate(served, options);
  const PlainMeasures plain = plain_measures(served, data, Split::test, 10, false);
  CHECK(towers.measures["recall@10"] == doctest::Approx(plain.recall).epsilon(1e-5));
  CHECK(towers.measures["mrr"] == doctest::Approx(plain.mrr).epsilon(1e-4));
  CHECK(towers.measures["mrr"] != result.measures["mrr"]);
  CHECK(towers.protocol.find("the towers alone: by inner product, the light ranker left out") != std::string::npos);
}

TEST_CASE("metrics: agreement with the simulator's ranker and truth, by plain counting") {
  const TempFolder folder;
  SimulatorOptions simulated;
  simulated.users = 60, simulated.items = 80, simulated.impressions = 6000;
  simulate(folder.path() + "/data", simulated);
  const Dataset data = Dataset::open(folder.path() + "/data");
  const Truth truth = Truth::load(data);
  const TwoTower<float> model(small_config(data));
  const ServedDataset served(model, data);
  EvaluateOptions options;
  options.ks = {5, 20};
  const EvaluationResult result = evaluate(served, options);
  CHECK(result.measures.has("logged_kendall"));
  CHECK(result.measures["logged_pairs"] > 0.2);
  CHECK(result.measures["logged_pairs"] < 0.8);

  const UserItems seen = data.seen_before(Split::test);
  const int64_t k = 20;
  double agreement = 0, agreement10 = 0, funnel = 0, true_funnel = 0, tau = 0, recall = 0, value_lost = 0;
  for (const int64_t u : result.user_rows) {
    const Impressions& log = data.split(Split::test);
    int64_t first = 0;
    while (log.user[first] != u) ++first;
    const std::vector<UserMoment> moment = {{u, log.history_end[first]}};
    TopItems top;
    Session session;
    served.top(session, moment, {.k = k}, &seen, top);
    std::vector<float> ranker(80), value(80);
    truth.ranker_values(u, 0, ranker.data());
    truth.true_values(u, 0, value.data());
    std::vector<int64_t> allowed;
    for (int32_t i = 0; i < 80; ++i)
      if (!std::binary_search(seen.of(u).begin(), seen.of(u).end(), i)) allowed.push_back(i);
    const auto best = [&](const std::vector<float>& by) {
      std::vector<int64_t> out = allowed;
      std::stable_sort(out.begin(), out.end(),
                       [&](int64_t a, int64_t b) { return by[static_cast<size_t>(a)] > by[static_cast<size_t>(b)]; });
      return out;
    };
    const auto items = top.items(0);
    const auto shared = [&](const std::vector<int64_t>& order, size_t n) {
      n = std::min(n, order.size());
      double hits = 0;
      for (size_t r = 0; r < n; ++r) hits += std::count(items.begin(), items.end(), order[r]) > 0;
      return hits / static_cast<double>(n);
    };
    const auto sum = [&](const std::vector<float>& by, const std::vector<int64_t>& order, size_t n) {
      double total = 0;
      for (size_t r = 0; r < std::min(n, order.size()); ++r) total += by[static_cast<size_t>(order[r])];
      return total;
    };
    const auto by_ranker = best(ranker), by_value = best(value);
    agreement += shared(by_ranker, 20), agreement10 += shared(by_ranker, 10), recall += shared(by_value, 20);
    std::vector<int64_t> kept(items.begin(), items.end());
    value_lost += 1 - sum(value, kept, 20) / sum(value, by_value, 20);
    std::vector<float> place, own;
    for (size_t r = 0; r < kept.size(); ++r)
      place.push_back(-static_cast<float>(r)), own.push_back(ranker[static_cast<size_t>(kept[r])]);
    tau += kendall_tau(place.data(), own.data(), static_cast<int64_t>(own.size()));
    std::sort(kept.begin(), kept.end(),
              [&](int64_t a, int64_t b) { return ranker[static_cast<size_t>(a)] > ranker[static_cast<size_t>(b)]; });
    funnel += sum(ranker, kept, 10) / sum(ranker, by_ranker, 10);
    true_funnel += sum(value, kept, 10) / sum(value, by_value, 10);
  }
  const auto n = static_cast<double>(result.users);
  CHECK(result.measures["agreement@20"] == doctest::Approx(agreement / n).epsilon(1e-4));
  CHECK(result.measures["agreement@10:20"] == doctest::Approx(agreement10 / n).epsilon(1e-4));
  CHECK(result.measures["funnel_value@10:20"] == doctest::Approx(funnel / n).epsilon(1e-4));
  CHECK(result.measures["true_funnel_value@10:20"] == doctest::Approx(true_funnel / n).epsilon(1e-4));
  CHECK(result.measures.has("funnel_value@5:5"));
  CHECK(result.measures["kendall@20"] == doctest::Approx(tau / n).epsilon(1e-4));
  CHECK(result.measures["true_recall@20"] == doctest::Approx(recall / n).epsilon(1e-4));
  CHECK(result.measures["value_lost@20"] == doctest::Approx(value_lost / n).epsilon(1e-3));
  CHECK(result.measures["true_ndcg@20"] < 1);
}

TEST_CASE("metrics: the names that are promised are those that come, in their order") {
  const TempFolder folder;
  SimulatorOptions simulated;
  simulated.users = 200, simulated.items = 80, simulated.impressions = 6000;
  simulate(folder.path() + "/data", simulated);
  const Dataset data = Dataset::open(folder.path() + "/data");
  const TwoTower<float> model(small_config(data));
  const ServedDataset served(model, data);
  for (const bool truth : {false, true})
    for (const std::vector<int64_t>& ks : {std::vector<int64_t>{5}, {1, 10, 12, 80}}) {
      EvaluateOptions options;
      options.ks = ks, options.truth = truth, options.baselines = false;
      const EvaluationResult result = evaluate(served, options);
      std::vector<std::string> promised = measure_names(data, options);
      CHECK(std::set<std::string>(promised.begin(), promised.end()).size() == promised.size());
      CHECK(std::count(promised.begin(), promised.end(), "agreement@10:12") == (truth && ks.size() > 1));
      size_t at = 0;  // a measure that no user has is left out
      for (const auto& [name, value] : result.measures.all()) {
        while (at < promised.size() && promised[at] != name) ++at;
        CHECK_MESSAGE(at < promised.size(), name);
      }
      CHECK(result.measures.has("ips_recall@" + std::to_string(ks[0])));
      CHECK(result.per_user.size() == result.per_user_names.size() * static_cast<size_t>(result.users));
    }
}

TEST_CASE("metrics: what is measured at 10 does not depend on the largest K that is asked for") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(300, 60, 5));
  const TwoTower<float> model(small_config(data));
  const ServedDataset served(model, data);
  EvaluateOptions options;
  options.ks = {10};
  const Measures alone = evaluate(served, options).measures;
  options.ks = {3, 10, 60};
  const Measures among = evaluate(served, options).measures;
  for (const auto& [name, value] : alone.all()) CHECK_MESSAGE(among[name] == value, name);

  // A light ranker orders as many candidates whatever K is; only how far mrr sees depends on it.
  ModelConfig config = small_config(data);
  config.light_ranker = true, config.num_mips_items = 30;
  const TwoTower<float> light(config);
  const ServedDataset reordered(light, data);
  options.ks = {10}, options.baselines = false;
  const Measures ten = evaluate(reordered, options).measures;
  options.ks = {3, 10, 30};
  const Measures thirty = evaluate(reordered, options).measures;
  for (const auto& [name, value] : ten.all())
    if (name != "mrr") CHECK_MESSAGE(thirty[name] == value, name);
  options.ks = {10, 40};
  CHECK(error_of([&] { evaluate(reordered, options); }) ==
        "[retrieve] k = 40 is more than the 30 candidates that the light ranker puts in order; ask for fewer, or raise "
        "--candidates");
  options.candidates = 40;
  CHECK(evaluate(reordered, options).protocol.find("the light ranker orders the best 40 by inner product") !=
        std::string::npos);
  CHECK(default_ks(60, config) == std::vector<int64_t>{10, 20});
  CHECK(default_ks(reordered.recommender().most(options.ask())) == std::vector<int64_t>{10, 20});
  CHECK(default_ks(7) == std::vector<int64_t>{3});
}

TEST_CASE("metrics: what cannot be measured is refused") {
  const TempFolder folder;
  DatasetContent content = tiny_content();
  content.test = {};
  const Dataset data = open_written(folder, content);
  EvaluateOptions options;
  CHECK(error_of([&] { Evaluator(data, options); }) ==
        "[evaluate] K = 10 is larger than the corpus of 5 items; ask for at most so many");
  options.ks = {0};
  CHECK(error_of([&] { Evaluator(data, options); }) == "[evaluate] K = 0; ask for at least 1 item");
  options.ks = {};
  CHECK(error_of([&] { Evaluator(data, options); }) ==
        "[evaluate] no K is given; give at least one, such as --k 10,20,100");
  options.ks = {2};
  CHECK(error_of([&] { Evaluator(data, options); }, data.dir()) ==
        "[evaluate] the test split of FILE has no user with an item acted on and not seen before; choose another "
        "--split, or import with one");
  Measures measures;
  measures.set("recall@20", 0.5);
  measures.set("recall@20", 0.6);
  CHECK(measures["recall@20"] == 0.6);
  CHECK(error_of([&] { measures["recal@20"]; }) ==
        "[evaluate] there is no measure \"recal@20\"; did you mean \"recall@20\"?");
  CHECK(lower_is_better("value_lost@100"));
  CHECK(!lower_is_better("true_funnel_value@10:100"));
  CHECK(!lower_is_better("ndcg@10"));
}
