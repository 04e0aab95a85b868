#include <doctest/doctest.h>
#include <twotower/train/evaluate/user_groups.h>

#include <cmath>
#include <limits>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

TEST_CASE("user groups: each user counts in the group of its training impressions, and in no other") {
  // User u has so many rows in train, and three in test.
  const std::vector<int64_t> rows = {0, 1, 2, 3, 4, 10, 11, 30, 31, 100, 101, 250};
  DatasetContent content = made_up_content(static_cast<int64_t>(rows.size()), 20, 1);
  content.train = {};
  double time = -1e6;  // before the test split
  for (size_t u = 0; u < rows.size(); ++u)
    for (int64_t n = 0; n < rows[u]; ++n) {
      content.train.user.push_back(static_cast<int32_t>(u));
      content.train.item.push_back(static_cast<int32_t>(n % 20));
      content.train.time.push_back(time += 1);
      content.train.position.push_back(0);
      content.train.labels.insert(content.train.labels.end(), {1, 0});
    }
  const TempFolder folder;
  const Dataset data = open_written(folder, content);

  // User u's recall is u; ndcg is known of odd users alone.
  const float none = std::numeric_limits<float>::quiet_NaN();
  EvaluationResult result;
  result.per_user_names = {"recall@10", "ndcg@10"};
  for (size_t u = rows.size(); u-- > 0;) {  // in any order
    if (u == 3) continue;                   // not evaluated
    result.user_rows.push_back(static_cast<int64_t>(u));
    result.per_user.insert(result.per_user.end(), {static_cast<float>(u), u % 2 ? 1.0f : none});
  }
  const std::vector<UserGroup> groups = by_impressions(data, result);
  const struct {
    const char* impressions;
    int64_t users;
    double recall;
  } expected[] = {{"0", 1, 0},       {"1", 1, 1},        {"2-3", 1, 2},    {"4-10", 2, 4.5},
                  {"11-30", 2, 6.5}, {"31-100", 2, 8.5}, {">100", 2, 10.5}};
  REQUIRE(groups.size() == std::size(expected));
  for (size_t g = 0; g < groups.size(); ++g) {
    CAPTURE(g);
    CHECK(groups[g].impressions == expected[g].impressions);
    CHECK(groups[g].users == expected[g].users);
    CHECK(groups[g].measures["recall@10"] == expected[g].recall);
    CHECK(groups[g].measures.has("ndcg@10") == (g != 0 && g != 2));
  }
  CHECK(groups[3].measures["ndcg@10"] == 1);  // of the one user who has it

  result.user_rows = {0, 11}, result.per_user = {0, none, 11, none};
  CHECK(by_impressions(data, result).size() == 2);  // none without a user
}
