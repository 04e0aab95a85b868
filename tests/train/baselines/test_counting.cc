// The baselines that count, by hand.

#include <doctest/doctest.h>
#include <twotower/train/baselines/item_knn.h>
#include <twotower/train/baselines/markov.h>

#include <cmath>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

// Item rows by user in time order, all of them train.
DatasetContent content_of(const std::vector<std::vector<int32_t>>& lists, int64_t items) {
  DatasetContent content;
  content.tasks = {"click"};
  for (size_t u = 0; u < lists.size(); ++u) content.user_ids.push_back("u" + std::to_string(u));
  for (int64_t i = 0; i < items; ++i) content.item_ids.push_back("i" + std::to_string(i));
  for (size_t u = 0; u < lists.size(); ++u)
    for (size_t at = 0; at < lists[u].size(); ++at) {
      content.train.user.push_back(static_cast<int32_t>(u));
      content.train.item.push_back(lists[u][at]);
      content.train.time.push_back(static_cast<double>(at));
      content.train.labels.push_back(1);
    }
  return content;
}

std::vector<double> scores(const Baseline& baseline, const UserMoment& user, int64_t items) {
  std::vector<float> out(static_cast<size_t>(items), -1);
  baseline.score({&user, 1}, out.data());
  return {out.begin(), out.end()};
}

void check_near(const std::vector<double>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-6));
}

}  // namespace

TEST_CASE("itemknn: cosines, shrinkage and neighbours by hand") {
  const TempFolder folder;
  const Dataset data = open_written(folder, content_of({{0, 1}, {1, 0, 2, 1}, {2, 3}, {1}}, 5));
  // Users of items: 0: a b; 1: a b d; 2: b c; 3: c; 4: nobody.
  BaselineOptions options;
  options.itemknn = {.neighbours = 10, .shrinkage = 1};
  ItemKnn knn(options);
  knn.fit(data);
  const double s01 = 2 / (std::sqrt(6.0) + 1), s02 = 1 / (std::sqrt(4.0) + 1), s12 = 1 / (std::sqrt(6.0) + 1),
               s23 = 1 / (std::sqrt(2.0) + 1);
  check_near(scores(knn, {0, 0}, 5), {s01, s01, s02 + s12, 0, 0});  // knows 0 and 1
  check_near(scores(knn, {3, 0}, 5), {s01, 0, s12, 0, 0});
  check_near(scores(knn, {2, 0}, 5), {s02, s12, s23, s23, 0});
  check_near(scores(knn, {-1, 0}, 5), {0, 0, 0, 0, 0});
  options.itemknn = {.neighbours = 1, .shrinkage = 0};  // 0's is 1, 1's is 0, 2's and 3's are each other
  ItemKnn nearest(options);
  nearest.fit(data);
  check_near(scores(nearest, {3, 0}, 5), {2 / std::sqrt(6.0), 0, 0, 0, 0});
  check_near(scores(nearest, {2, 0}, 5), {0, 0, 1 / std::sqrt(2.0), 1 / std::sqrt(2.0), 0});
}

TEST_CASE("markov: transitions and decay by hand") {
  const TempFolder folder;
  const Dataset data = open_written(folder, content_of({{0, 1, 2}, {0, 2}, {3, 0}, {4, 4, 4, 4, 4, 4, 0}}, 5));
  BaselineOptions options;
  options.markov = {.steps = 5, .decay = 0.7, .normalisation = 0};
  Markov markov(options);
  markov.fit(data);
  // 0 -> 1: 1, 0 -> 2: 1/2 + 1, 1 -> 2: 1, 3 -> 0: 1, 4 -> 0: 1 + 1/2 + ... + 1/5, and not 1/6.
  check_near(scores(markov, {0, 0}, 5), {0, 0.49, 0.7 + 0.49 * 1.5, 0, 0});
  check_near(scores(markov, {1, 0}, 5), {0, 0.7, 0.7 * 1.5, 0, 0});
  check_near(scores(markov, {2, 0}, 5), {0.7, 1, 1.5, 0, 0});
  const double last = 1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0 + 1 / 5.0;
  CHECK(scores(markov, {3, 0}, 5)[0] == doctest::Approx((0.7 + 0.49 + 0.343 + 0.2401) * last));
  check_near(scores(markov, {-1, 0}, 5), {0, 0, 0, 0, 0});
  options.markov.normalisation = 1;
  Markov chain(options);
  chain.fit(data);
  check_near(scores(chain, {1, 0}, 5), {0, 0.7 * 0.4, 0.7 * 0.6, 0, 0});
}
