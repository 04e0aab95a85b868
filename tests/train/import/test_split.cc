#include <doctest/doctest.h>
#include <twotower/train/import/label.h>
#include <twotower/train/import/split.h>

#include <algorithm>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

// n rows of 4 users, row i at time n - i, every third without a label.
DatasetContent log_of(int n) {
  DatasetContent content;
  content.tasks = {"action"};
  for (int i = 0; i < n; ++i) {
    content.train.user.push_back(i % 4);
    content.train.item.push_back(i);
    content.train.time.push_back(n - i);
    content.train.labels.push_back(i % 3 != 0);
  }
  return content;
}

}  // namespace

TEST_CASE("split: by time, nothing to predict lies before what is known") {
  DatasetContent content = log_of(1000);
  content.train.time[199] = content.train.time[198];  // equal times at the border stay together
  split_log(content, parse_split("time:0.8"), true, 1, "x");
  CHECK(content.train.size() == 720);
  CHECK(content.valid.size() == 80);
  CHECK(content.test.size() == 200);
  const auto newest = [](const InteractionColumns& rows) {
    return *std::max_element(rows.time.begin(), rows.time.end());
  };
  const auto oldest = [](const InteractionColumns& rows) {
    return *std::min_element(rows.time.begin(), rows.time.end());
  };
  CHECK(newest(content.train) < oldest(content.valid));
  CHECK(newest(content.valid) < oldest(content.test));
}

TEST_CASE("split: at random, by the seed only") {
  DatasetContent a = log_of(1000), b = log_of(1000), c = log_of(1000);
  split_log(a, parse_split("random:0.8"), true, 1, "x");
  split_log(b, parse_split("random:0.8"), true, 1, "x");
  split_log(c, parse_split("random:0.8"), true, 2, "x");
  CHECK(a.train.size() == 720);
  CHECK(a.valid.size() == 80);
  CHECK(a.test.size() == 200);
  CHECK(a.test.item == b.test.item);
  CHECK(a.test.item != c.test.item);
  CHECK(std::is_sorted(a.train.item.begin(), a.train.item.end()));  // file order is kept

  DatasetContent whole = log_of(1000);
  split_log(whole, parse_split("random:0.8", 0.0), true, 1, "x");
  CHECK(whole.train.size() == 800);
  CHECK(whole.valid.size() == 0);
  CHECK(whole.test.item == a.test.item);  // the same test part, whatever is held out
  CHECK(whole.protocol == "at random: 80% of the log is for training, the rest is test");
}

TEST_CASE("split: leave-last-out takes a user's last two actions and what follows them") {
  DatasetContent content;
  content.tasks = {"a", "b"};
  const float labels[][2] = {{1, 0}, {0, 0}, {0, 1}, {1, 1}, {0, 0}};
  for (int i = 0; i < 5; ++i) {
    content.train.user.push_back(7);
    content.train.item.push_back(i);
    content.train.time.push_back(i);
    content.train.labels.insert(content.train.labels.end(), labels[i], labels[i] + 2);
  }
  DatasetContent whole = content;
  split_log(whole, parse_split("leave-last-out", 0), true, 1, "x");
  CHECK(whole.train.item == std::vector<int32_t>{0, 1, 2});
  CHECK(whole.valid.size() == 0);
  CHECK(whole.test.item == std::vector<int32_t>{3, 4});
  CHECK(whole.protocol == "leave-last-out: a user's last action is test, the others train");
  split_log(content, parse_split("leave-last-out"), true, 1, "x");
  CHECK(content.train.item == std::vector<int32_t>{0, 1});
  CHECK(content.valid.item == std::vector<int32_t>{2});
  CHECK(content.test.item == std::vector<int32_t>{3, 4});
  CHECK(content.test.labels == std::vector<float>{1, 1, 0, 0});
}

TEST_CASE("split: given, with a share held out") {
  DatasetContent content = log_of(100);
  split_log(content, parse_split("given", 0.2), true, 1, "x");
  CHECK(content.train.size() == 80);
  CHECK(content.valid.size() == 20);
  CHECK(content.test.size() == 0);
}

TEST_CASE("split: bad splits") {
  CHECK(error_of([] { parse_split("tme:0.8"); }) ==
        "[split tme:0.8] is not a known split; choose given, time:0.8, random:0.8 or leave-last-out");
  CHECK(error_of([] { parse_split("time:1.5"); }) ==
        "[split time:1.5] needs a share between 0 and 1 for training; choose given, time:0.8, random:0.8 or "
        "leave-last-out");
  DatasetContent content = log_of(5);
  content.train.time.assign(5, 3);
  CHECK(error_of([&] { split_log(content, parse_split("time:0.8"), true, 1, "x"); }) ==
        "[import x] has the same time in every row, so it cannot be split by time; use --split random:0.8");
}

TEST_CASE("label: every operator") {
  const auto holds = [](const char* text, double value) { return parse_label(text).holds(value); };
  CHECK(holds("l=r>=4", 4));
  CHECK_FALSE(holds("l=r>4", 4));
  CHECK(holds("l=r<=4", 4));
  CHECK_FALSE(holds("l=r<4", 4));
  CHECK(holds("l=r==4", 4));
  CHECK(holds("l=r!=4", 3));
  CHECK(parse_label("buy = event == purchase ").holds(std::string_view("purchase")));
  CHECK(parse_label("buy=event!=purchase").holds(std::string_view("view")));
  CHECK(parse_label("like=rating>=4").task == "like");
  CHECK(parse_label("like=rating>=4").column == "rating");
  CHECK(parse_label("click=clicked").op.empty());
}

TEST_CASE("label: bad labels") {
  CHECK(error_of([] { parse_label("rating>=4"); }) ==
        "[label rating>=4] does not name a task; write TASK=COLUMN>=NUMBER, as in like=rating>=4");
  CHECK(error_of([] { parse_label("like=>=4"); }) ==
        "[label like=>=4] does not name a column; write TASK=COLUMN>=NUMBER, as in like=rating>=4");
  CHECK(error_of([] { parse_label("like=rating=4"); }) ==
        "[label like=rating=4] has the operator \"=\"; choose one of >= > <= < == !=");
  CHECK(error_of([] { parse_label("like=rating>=good"); }) ==
        "[label like=rating>=good] \"good\" is not a number; texts compare with == and != only");
  CHECK(error_of([] { parse_label("like=rating>="); }) ==
        "[label like=rating>=] compares with nothing; write TASK=COLUMN>=NUMBER, as in like=rating>=4");
  CHECK(error_of([] {
          parse_labels({"a=x>1", "a=x>2"});
        }) == "[label a=x>2] names the task \"a\" again; give each label a name of its own");
}

TEST_CASE("split: by time, a tie at the border leaves no part without rows") {
  const auto sizes = [](const std::vector<std::pair<double, int>>& days, const char* split) {
    DatasetContent content;
    content.tasks = {"action"};
    for (const auto& [day, rows] : days)
      for (int i = 0; i < rows; ++i) {
        content.train.user.push_back(i);
        content.train.item.push_back(i);
        content.train.time.push_back(day);
        content.train.labels.push_back(1);
      }
    split_log(content, parse_split(split), true, 1, "x");
    return std::vector<int64_t>{content.train.size(), content.valid.size(), content.test.size()};
  };
  using Sizes = std::vector<int64_t>;
  CHECK(sizes({{1, 85}, {2, 10}, {3, 5}}, "time:0.8") == Sizes{85, 10, 5});             // both cuts fall into day 1
  CHECK(sizes({{1, 50}, {2, 45}, {3, 5}}, "time:0.8") == Sizes{50, 45, 5});             // both into day 2
  CHECK(sizes({{1, 10}, {2, 5}, {3, 85}}, "time:0.8") == Sizes{10, 5, 85});             // both into the last day
  CHECK(sizes({{1, 40}, {2, 35}, {3, 10}, {4, 15}}, "time:0.8") == Sizes{40, 35, 25});  // no tie, nothing changes
  CHECK(sizes({{1, 60}, {2, 40}}, "time:0.8") == Sizes{60, 0, 40});                     // two times are two parts
}
