// What all baselines share: who may see what, how they are ranked, and the same bits on any number of threads.

#include <doctest/doctest.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/baselines/known_actions.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/rankings/baseline_ranking.h>

#include <algorithm>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

const std::vector<std::string> kLearning = {"itemknn", "markov", "ease", "als"};

// Items 0 .. 19 are everyone's; user u has three of their own that nobody else touches: 20 + 3u is the last of train,
// the next one valid, the last one test. Who has seen a test would find it at once.
DatasetContent secretive_content(int64_t users) {
  DatasetContent content;
  content.tasks = {"click"};
  const Philox random(5);
  uint64_t next = 0;
  const auto add = [](InteractionColumns& to, int64_t user, int64_t item, double time) {
    to.user.push_back(static_cast<int32_t>(user)), to.item.push_back(static_cast<int32_t>(item));
    to.time.push_back(time), to.labels.push_back(1);
  };
  for (int64_t i = 0; i < 20 + 3 * users; ++i) content.item_ids.push_back("i" + std::to_string(i));
  for (int64_t u = 0; u < users; ++u) {
    content.user_ids.push_back("u" + std::to_string(u));
    for (int n = 0; n < 6; ++n) add(content.train, u, static_cast<int64_t>(random.below(next++, 20)), n);
    add(content.train, u, 20 + 3 * u, 10);
    add(content.valid, u, 21 + 3 * u, 11);
    add(content.test, u, 22 + 3 * u, 12);
  }
  return content;
}

// Gives the scores it is told to everyone.
class Told : public Baseline {
 public:
  explicit Told(std::vector<float> scores) : scores_(std::move(scores)) {}
  void fit(const Dataset&) override {}
  void score(std::span<const UserMoment> users, float* out) const override {
    for (size_t q = 0; q < users.size(); ++q) std::copy(scores_.begin(), scores_.end(), out + q * scores_.size());
  }

 private:
  std::vector<float> scores_;
};

}  // namespace

TEST_CASE("baselines: none has seen a test action, nor, on the validation part, a valid one") {
  const TempFolder folder;
  const Dataset data = open_written(folder, secretive_content(40));
  const TwoTower<float> model(small_config(data));
  const ServedDataset served(model, data);
  for (const Split split : {Split::valid, Split::test}) {
    EvaluateOptions options;
    options.split = split, options.ks = {10}, options.baseline_names = kLearning;
    for (const auto& [name, measures] : evaluate(served, options).baselines) {
      INFO(name);
      CHECK(measures["recall@10"] == 0);  // an item that training has not met comes last
    }
  }
}

TEST_CASE("baselines: of a user they know the training actions and the history before the moment") {
  const TempFolder folder;
  const Dataset data = open_written(folder, secretive_content(3));
  const KnownActions known(data);
  const auto ends = [&](Split split) { return data.split(split).history_end[0]; };
  CHECK(known.of({0, ends(Split::test)}).back() == 21);   // the valid one came before
  CHECK(known.of({0, ends(Split::valid)}).back() == 20);  // and is not known before it was
  CHECK(known.of({0, 0}).size() == 7);                    // what training has seen
  CHECK(known.of({-1, 0}).empty());
  CHECK(KnownActions::distinct(std::vector<int32_t>{3, 1, 3}) == std::vector<int32_t>{1, 3});
}

TEST_CASE("baselines: in order of score, ties by popularity, of the items on offer that were not seen") {
  const TempFolder folder;
  DatasetContent content = tiny_content();  // training positives: 2, 2, 0, 1, 1
  content.item_available = {1, 1, 1, 0, 1};
  const Dataset data = open_written(folder, content);
  const Told told({0, 1, 1, 9, 0.5f});
  BaselineRanking ranking(told, data);
  const std::vector<UserMoment> users = {{-1, 0}, {1, 0}};
  UserItems seen;
  seen.offsets = {0, 0, 1, 1, 1}, seen.items = {1};
  TopItems top;
  ranking.top(users, 4, &seen, top);
  const auto items = [&](int64_t q) { return std::vector<int64_t>(top.items(q).begin(), top.items(q).end()); };
  CHECK(items(0) == std::vector<int64_t>{1, 2, 4, 0});
  CHECK(items(1) == std::vector<int64_t>{2, 4, 0});
  int64_t ranks[2];
  ranking.first_ranks(users, {{0, 2, 3}, {0, 4, 4}}, &seen, {0, 0}, ranks);
  CHECK(ranks[0] == 3);
  CHECK(ranks[1] == 2);
  float scores[2];
  const std::vector<int64_t> some = {3, 0};
  CHECK(ranking.score(users[0], some, scores));
  CHECK(scores[0] == 9);
  CHECK(scores[1] == 0);
}

TEST_CASE("baselines: the same bits on any number of threads") {
  const TempFolder folder;
  DatasetContent content = made_up_content(300, 260, 9);
  for (InteractionColumns* split : {&content.train, &content.test})
    for (const float label : split->labels) split->ranker_scores.push_back(0.2f + 0.5f * label);
  const Dataset data = open_written(folder, content);
  std::vector<UserMoment> users;
  for (int64_t u = 0; u < data.num_users(); ++u) users.push_back({u, 5});
  for (const std::string name : {"itemknn", "markov", "ease", "als", "als_ranker"}) {
    INFO(name);
    std::vector<float> first;
    for (const int threads : {1, 2, 5}) {
      const ThreadScope scope(threads);
      const auto baseline = make_baseline(name, {});
      baseline->fit(data);
      std::vector<float> scores(static_cast<size_t>(data.num_users() * data.num_items()));
      baseline->score(users, scores.data());
      if (threads == 1) first = scores;
      CHECK(scores == first);
    }
  }
}

TEST_CASE("baselines: which are measured") {
  const TempFolder folder;
  DatasetContent content = made_up_content(20, 30, 4);
  {
    const Dataset data = open_written(folder, content);
    std::vector<std::string> notes;
    const auto note = [&](const std::string& line) { notes.push_back(line); };
    CHECK(choose_baselines({"markov", "all", "ease"}, data, note) ==
          std::vector<std::string>{"markov", "popularity", "recent", "itemknn", "ease", "als", "random"});
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].find("left out: the baseline \"als_ranker\" needs the main ranker's scores") == 0);
    CHECK(error_of([&] { choose_baselines({"als_ranker"}, data, nullptr); }) ==
          "[evaluate] the baseline \"als_ranker\" needs the main ranker's scores in the training log, which the data "
          "does "
          "not have; leave it out");
  }
  content.has_times = false;
  const Dataset data = open_written(folder, content);
  CHECK(error_of([&] { choose_baselines({"recent"}, data, nullptr); }) ==
        "[evaluate] the baseline \"recent\" needs times, which the data's source does not have; leave it out");
}

TEST_CASE("baselines: differences are paired over users") {
  const float none = std::numeric_limits<float>::quiet_NaN();
  // The same difference for everyone, however much users differ: no doubt at all. The last has no value in one.
  const std::vector<float> a = {0.5f, 10.5f, 20.5f, 7}, b = {0, 10, 20, none};
  const std::vector<Difference> d = paired_differences(a, b, {"m"}, 100, 1);
  REQUIRE(d.size() == 1);
  CHECK(d[0].name == "m");
  CHECK(d[0].mean == 0.5);
  CHECK(d[0].low == 0.5);
  CHECK(d[0].high == 0.5);
}
