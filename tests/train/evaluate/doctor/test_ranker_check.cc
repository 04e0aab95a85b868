// A main ranker that is right, and ones that are wrong in a known way, told apart from their logs alone.

#include <doctest/doctest.h>
#include <twotower/train/evaluate/doctor/doctor.h>
#include <twotower/train/evaluate/doctor/ranker_check.h>

#include <algorithm>
#include <cmath>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

constexpr int64_t kUsers = 400, kItems = 60;

double relevance_logit(int64_t user, int64_t item) {
  const Philox random(8, static_cast<uint64_t>(user + 1));
  return -0.8 + 0.8 * random.normal(static_cast<uint64_t>(item));
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Users and items of made_up_content(), low rows shown more often; a label is drawn with 1 / (1 + slot) x the relevance
// of the pair. score(logit of the relevance, standardised popularity, noise) is the logit of what the ranker logs.
template <class Score>
DatasetContent logged(Score score) {
  DatasetContent content = made_up_content(kUsers, kItems, 1);
  content.tasks = {"click"};
  const Philox random(5), noises(6);
  uint64_t next = 0;
  double time = 0;
  for (InteractionColumns* split : {&content.train, &content.test}) {
    *split = {};
    for (int64_t n = 0; n < kUsers * 30; ++n) {
      const int64_t user = n % kUsers;
      const double x = random.uniform(next++);
      const auto item = static_cast<int64_t>(x * x * kItems);
      const auto slot = static_cast<int32_t>(random.below(next++, 4));
      const double logit = relevance_logit(user, item), noise = noises.normal(next);
      const double popular = 1.7 * (1 - 2 * static_cast<double>(item) / kItems);
      split->user.push_back(static_cast<int32_t>(user));
      split->item.push_back(static_cast<int32_t>(item));
      split->time.push_back(time += 1);
      split->position.push_back(slot);
      split->labels.push_back(random.uniform(next++) < sigmoid(logit) / (1 + slot) ? 1.0f : 0.0f);
      split->ranker_scores.push_back(static_cast<float>(sigmoid(score(logit, popular, noise))));
    }
  }
  return content;
}

struct Log {
  explicit Log(const DatasetContent& content) : data(open_written(folder, content)), model(small_config(data)) {}
  TempFolder folder;
  Dataset data;
  TwoTower<float> model;
  ServedDataset served{model, data};
  ExaminationCurve examination = estimate_examination(data);

  // What the doctor says of the ranker.
  std::vector<Finding> findings() const {
    EvaluateOptions options;
    options.ks = {10}, options.baselines = false, options.include_seen = true;
    std::vector<Finding> all = examine(served, evaluate(served, options), options);
    std::erase_if(all, [](const Finding& f) { return f.what.find("main ranker") == std::string::npos; });
    REQUIRE(all.size() == 4);
    for (const Finding& f : all) CHECK(f.healthy == f.advice.empty());
    return all;
  }
};

enum { kScale, kPopularity, kConfidence, kOrder };  // of findings()

}  // namespace

TEST_CASE("ranker check: what scores promise and what users gave, by hand") {
  const TempFolder folder;
  DatasetContent content = tiny_content();
  content.value_weights = {1, 3};
  const Dataset data = open_written(folder, content);
  ExaminationCurve examination;
  examination.slots = {1, 0.5, 0.25};
  const RankerCalibration c = calibrate_ranker(data, examination);
  double promised = 0, given = 0, squares = 0;
  for (const InteractionColumns* split : {&content.train, &content.valid, &content.test})
    for (size_t i = 0; i < split->user.size(); ++i) {
      const double click = split->labels[2 * i], like = split->labels[2 * i + 1];
      promised += (0.5 * click + 0.2 + 3 * (0.5 * like + 0.1)) / std::exp2(split->position[i]);
      given += click + 3 * like, squares += (click + 3 * like) * (click + 3 * like);
    }
  CHECK(c.all.rows == 12);
  CHECK(c.all.ratio() == doctest::Approx(promised / given));
  CHECK(c.all.log_error() == doctest::Approx(std::sqrt(squares) / given));
  int64_t rows = 0;
  for (const Calibration& fifth : c.by_score) rows += fifth.rows;
  CHECK(rows == 12);
  CHECK(c.by_score[0].given == 0);      // of the two rows without a label, which score lowest
  CHECK(c.by_score[4].given == 3 * 4);  // both labels each
}

TEST_CASE("ranker check: pairs in the right order, by hand") {
  const TempFolder folder;
  DatasetContent content = tiny_content();
  content.value_weights = {1, 1};
  content.test = {};
  const auto add = [&](int32_t item, int32_t position, float label, float score) {
    content.test.user.push_back(0), content.test.item.push_back(item), content.test.time.push_back(9);
    content.test.position.push_back(position);
    content.test.labels.insert(content.test.labels.end(), {label, label});
    content.test.ranker_scores.insert(content.test.ranker_scores.end(), {score, score});
  };
  add(1, 0, 1, 0.6f), add(2, 1, 1, 0.5f), add(3, 1, 0, 0.5f), add(4, 0, 0, 0.7f);
  const Dataset data = open_written(folder, content);
  const TwoTower<float> model(small_config(data));
  const ServedDataset served(model, data);
  ExaminationCurve examination;
  examination.slots = {1, 0.5};
  // Worth 1, 2, 0, 0. Pairs (1, 2): 1 x -1, (1, 3): 1, (1, 4): 1, (2, 1): 2 x 0, (2, 3): 2, (2, 4): 2: 5 together, of
  // which the ranker has -1 + 1 and half of 2.
  const PairAgreement pairs = pair_agreement(served, Split::test, {}, examination);
  CHECK(pairs.users == 1);
  CHECK(pairs.ranker == doctest::Approx(1.0 / 5));
  CHECK(pairs.ranker_error == doctest::Approx(0));
  float s[4];
  Session session;
  const std::vector<int64_t> items = {1, 2, 3, 4};
  served.recommender().score(session, served.user({0, 3}), items, s);
  const double right = -(s[0] > s[1]) + (s[0] > s[2]) + (s[0] > s[3]) + 2 * (s[1] > s[2]) + 2 * (s[1] > s[3]);
  CHECK(pairs.model == doctest::Approx(right / 5));
  CHECK(pair_agreement(served, Split::valid, {}, examination).users == 0);  // a row a user: no pairs
}

TEST_CASE("ranker check: a ranker that is right is found to be, at any slot") {
  const Log log(logged([](double logit, double, double) { return logit; }));
  const RankerCalibration c = calibrate_ranker(log.data, log.examination);
  for (const auto& fifths : {c.by_popularity, c.by_score})
    for (const Calibration& fifth : fifths) CHECK(fifth.ratio() == doctest::Approx(1).epsilon(0.12));
  // The share of pairs that relevance itself has right, were everything looked at.
  double right = 0, weight = 0;
  const Impressions& test = log.data.split(Split::test);
  std::vector<std::vector<int64_t>> items(kUsers);
  for (int64_t i = 0; i < test.size; ++i) items[static_cast<size_t>(test.user[i])].push_back(test.item[i]);
  for (int64_t u = 0; u < kUsers; ++u)
    for (const int64_t i : items[static_cast<size_t>(u)])
      for (const int64_t j : items[static_cast<size_t>(u)])
        if (i != j) {
          const double a = sigmoid(relevance_logit(u, i)), b = sigmoid(relevance_logit(u, j));
          weight += a * (1 - b), right += a > b ? a * (1 - b) : 0;
        }
  const PairAgreement pairs = pair_agreement(log.served, Split::test, {}, log.examination);
  CHECK(pairs.users > kUsers / 2);
  CHECK(pairs.ranker_error < 0.02);
  CHECK(std::abs(pairs.ranker - right / weight) < 3 * pairs.ranker_error);
  CHECK(std::abs(pairs.model - 0.5) < 0.1);  // it has learnt nothing
  for (const Finding& f : log.findings()) CHECK_MESSAGE(f.healthy, f.what, ": ", f.found);
}

TEST_CASE("doctor: a main ranker that is wrong in a known way is told so") {
  const auto told = [](int what, auto score) {
    const Finding f = Log(logged(score)).findings()[static_cast<size_t>(what)];
    CHECK_MESSAGE(!f.healthy, f.what, ": ", f.found);
    return f.found;
  };
  CHECK(told(kPopularity, [](double logit, double popular, double) {
          return logit + 0.4 * popular;
        }).find("it over-rates popular items by ") != std::string::npos);
  CHECK(told(kPopularity, [](double logit, double popular, double) {
          return logit - 0.4 * popular;
        }).find("it over-rates rare items by ") != std::string::npos);
  told(kConfidence, [](double logit, double, double noise) { return logit + noise; });
  told(kScale, [](double logit, double, double) { return logit - 2; });
  CHECK(told(kOrder, [](double logit, double, double) { return -logit; }).find("it is no better than chance") !=
        std::string::npos);
}
