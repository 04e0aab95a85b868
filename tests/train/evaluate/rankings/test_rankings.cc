// The orders that models are measured beside.

#include <doctest/doctest.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/rankings/rankings.h>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

TEST_CASE("metrics: popularity of late stands beside that of all time where the split is later than train") {
  const TempFolder folder;
  DatasetContent content = tiny_content();  // train spans the times 1 to 7; acted on since 6.4: item 1, by user 3
  const auto order = [](PopularityRanking& ranking) {
    TopItems top;
    const UserMoment nobody{-1, 0};
    ranking.top({&nobody, 1}, 5, nullptr, top);
    return std::vector<int64_t>(top.items(0).begin(), top.items(0).end());
  };
  {
    const Dataset data = open_written(folder, content);
    PopularityRanking ever(data), recent(data, 0.1), half(data, 0.5);
    CHECK(order(ever) == std::vector<int64_t>{0, 1, 3, 4, 2});
    CHECK(order(recent) == std::vector<int64_t>{1, 0, 3, 4, 2});  // the rest as of all time
    CHECK(order(half) == std::vector<int64_t>{0, 1, 3, 4, 2});    // since 4: 0, 1, 3 and 4 once
  }
  const auto names = [&] {
    const Dataset data = open_written(folder, content);
    const TwoTower<float> model(small_config(data));
    const ServedDataset served(model, data);
    EvaluateOptions options;
    options.ks = {2};
    std::vector<std::string> out;
    for (const auto& [name, measures] : evaluate(served, options).baselines) out.push_back(name);
    return out;
  };
  CHECK(names() == std::vector<std::string>{"popularity", "recent", "random"});
  content.test.time.assign(2, 3.0);  // a random split
  CHECK(names() == std::vector<std::string>{"popularity", "random"});
}
