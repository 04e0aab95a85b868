// Items that are not on offer: neither returned nor expected, whoever puts the corpus in order.

#include <doctest/doctest.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/rankings/rankings.h>

#include <algorithm>
#include <numeric>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

// Every third item is not on offer.
DatasetContent partly_available() {
  DatasetContent content = made_up_content(200, 60, 6);
  for (int32_t i = 0; i < 60; ++i) content.item_available.push_back(i % 3 != 0);
  return content;
}

bool on_offer(std::span<const int64_t> items) {
  return std::none_of(items.begin(), items.end(), [](int64_t item) { return item % 3 == 0; });
}

}  // namespace

TEST_CASE("availability: a dataset knows it, and refuses one without any") {
  const TempFolder folder;
  DatasetContent content = partly_available();
  const Dataset data = open_written(folder, content);
  CHECK(data.num_available() == 40);
  CHECK_FALSE(data.available(3));
  CHECK(data.available(4));
  content.item_available.assign(60, 0);
  CHECK(error_of([&] { open_written(folder, content); }, folder.path()) ==
        "[dataset FILE/data/items.safetensors] has no item that is available; set some of \"available\" to 1, or leave "
        "it out");
  content.item_available.assign(59, 1);
  CHECK(error_of([&] { open_written(folder, content); }, folder.path()) ==
        "[dataset FILE/data] says of 59 items whether they are available, there are 60");
}

TEST_CASE("availability: models and baselines return what is on offer only") {
  const TempFolder folder;
  const Dataset data = open_written(folder, partly_available());
  const TwoTower<float> model(small_config(data));
  ServedDataset served(model, data);
  served.refresh();
  ModelRanking ranking(served);
  PopularityRanking popularity(data);
  RandomRanking random(data, 4);
  const std::vector<UserMoment> users = {latest_moment(data, 3), {-1, 0}};
  const UserItems seen = data.seen_before(Split::test);
  for (Ranking* r :
       {static_cast<Ranking*>(&ranking), static_cast<Ranking*>(&popularity), static_cast<Ranking*>(&random)}) {
    TopItems top;
    r->top(users, 60, nullptr, top);
    CHECK(top.items(0).size() == 40);
    CHECK(on_offer(top.items(0)));
    r->top(users, 60, &seen, top);
    CHECK(on_offer(top.items(0)));
    CHECK(top.items(1).size() == 40);
    // The place of any item in the order is that of its rank among those returned.
    SkipRows relevant;
    relevant.offsets = {0, 1, 2}, relevant.rows = {top.items(0)[5], top.items(1)[30]};
    std::vector<int64_t> ranks(2);
    if (r != &random) {  // whose places are drawn
      r->first_ranks(users, relevant, &seen, {0, 0}, ranks.data());
      CHECK(ranks == std::vector<int64_t>{6, 31});
    }
  }
}

TEST_CASE("availability: a bundle serves what is on offer, and reads the rest in histories") {
  const TempFolder folder;
  const Dataset data = open_written(folder, partly_available());
  ModelConfig config = small_config(data);
  config.history = true;
  const TwoTower<float> model(config);
  const Bundle bundle = bundle_of(folder, model, data);
  bundle.verify();
  const Recommender recommender(bundle);
  CHECK(recommender.most() == 40);
  Session session;
  TopItems top;
  recommender.recommend(session, "u7", {.k = 60, .include_seen = true}, top);
  CHECK(top.items(0).size() == 40);
  CHECK(on_offer(top.items(0)));
  recommender.recommend(session, NewUser{.history = std::vector<std::string_view>{"i3", "i0"}}, {.k = 60}, top);
  CHECK(top.items(0).size() == 40);  // the items of this history would not be returned anyway
  std::vector<float> with(8), without(8);
  const std::vector<int32_t> history = {3, 0};
  recommender.encode(session, std::vector<ServedUser>{{.history = history}}, with.data());
  recommender.encode(session, std::vector<ServedUser>{{}}, without.data());
  CHECK(with != without);
  const Filter some(recommender.catalog(), {.only = {{"i3", "i4", "i5"}}});
  CHECK(recommender.most({.among = &some}) == 2);  // i3 is not on offer
}

TEST_CASE("availability: what is not on offer is not expected either") {
  const TempFolder folder;
  const Dataset data = open_written(folder, partly_available());
  const TwoTower<float> model(small_config(data));
  const ServedDataset served(model, data);
  EvaluateOptions options;
  options.ks = {40}, options.include_seen = true;
  const EvaluationResult result = evaluate(served, options);
  CHECK(result.measures["recall@40"] == 1);  // all that is on offer is returned
  CHECK(result.measures["coverage@40"] == 1);
  CHECK(result.protocol.find("full corpus of 40 items on offer") != std::string::npos);
  options.ks = {41};
  CHECK(error_of([&] { evaluate(served, options); }) ==
        "[evaluate] K = 41 is larger than the corpus of 40 items; ask for at most so many");
}
