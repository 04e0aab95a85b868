// How likely a slot is looked at, from the log; and the measure that weighs clicks by it.

#include <doctest/doctest.h>
#include <twotower/train/evaluate/examination.h>
#include <twotower/train/evaluate/metrics.h>

#include <algorithm>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

TEST_CASE("examination: it is told from relevance by items that stood in several slots") {
  const TempFolder folder;
  DatasetContent content = made_up_content(50, 4, 1);
  content.train = {};
  const double relevance[] = {0.9, 0.5, 0.4, 0.2}, examination[] = {1, 0.5, 0.3};
  const Philox random(8);
  uint64_t next = 0;
  double clicks[3] = {}, shown[3] = {};
  for (int64_t n = 0; n < 40000; ++n) {
    const auto item = static_cast<int32_t>(random.below(next++, 4));
    // Better items stand higher: in two of three cases the better two at the top, the others at the bottom.
    int32_t slot = static_cast<int32_t>(random.below(next++, 3));
    if (random.uniform(next++) < 0.67) slot = item < 2 ? 0 : 2;
    const bool unknown = random.uniform(next++) < 0.1;
    const float act = random.uniform(next++) < relevance[item] * examination[slot] ? 1.0f : 0.0f;
    content.train.user.push_back(static_cast<int32_t>(n % 50)), content.train.item.push_back(item);
    content.train.position.push_back(unknown ? -1 : slot), content.train.time.push_back(static_cast<double>(n));
    content.train.labels.insert(content.train.labels.end(), {act, 0});
    if (!unknown) clicks[slot] += static_cast<double>(act), shown[slot] += 1;
  }
  const ExaminationCurve curve = estimate_examination(open_written(folder, content));
  for (int32_t p = 0; p < 3; ++p) CHECK(curve.of(p) == doctest::Approx(examination[p]).epsilon(0.06));
  CHECK(clicks[2] / shown[2] < 0.2 * clicks[0] / shown[0]);  // a mean by slot would be far off
  CHECK(curve.of(-1) > curve.of(2));
  CHECK(curve.of(-1) < curve.of(0));
  CHECK(curve.of(50) == curve.of(-1));  // a slot that was never used

  content.train.position.clear(), content.test.position.clear();
  const TempFolder none;
  const Dataset without = open_written(none, content);
  CHECK(estimate_examination(without).of(3) == 1);
  EvaluateOptions options;
  options.ks = {2};
  const auto names = measure_names(without, options);
  CHECK(std::count(names.begin(), names.end(), "ips_recall@2") == 0);
}

TEST_CASE("examination: inverse propensity recall weighs a hit by one over its slot's examination") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(120, 30, 9));
  const TwoTower<float> model(small_config(data));
  const ServedDataset served(model, data);
  EvaluateOptions options;
  options.ks = {4}, options.include_seen = true, options.baselines = false;
  const double found = evaluate(served, options).measures["ips_recall@4"];
  const ExaminationCurve curve = estimate_examination(data);
  const Impressions& log = data.split(Split::test);
  double hits = 0, all = 0;
  Session session;
  std::vector<int64_t> first(120, 1000);
  for (int64_t i = 0; i < log.size; ++i)
    first[static_cast<size_t>(log.user[i])] =
        std::min<int64_t>(first[static_cast<size_t>(log.user[i])], log.history_end[i]);
  for (int64_t i = 0; i < log.size; ++i) {
    const UserMoment moment{log.user[i], first[static_cast<size_t>(log.user[i])]};
    TopItems top;
    served.top(session, {&moment, 1}, {.k = 4}, nullptr, top);
    const auto items = top.items(0);
    const double w = 1 / curve.of(log.position[i]);
    all += w;
    if (std::count(items.begin(), items.end(), log.item[i])) hits += w;
  }
  CHECK(found == doctest::Approx(hits / all));
}
