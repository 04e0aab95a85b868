// Eight threads search while one adds, replaces, removes and switches items: every answer is that of a state between
// the search's begin and its end. A program of its own, to be built with -Db_sanitize=thread too: ThreadSanitizer must
// have nothing to say of it.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/tensor/threads/parallel.h>

#include <atomic>
#include <map>
#include <numeric>
#include <thread>

#include "tests/models/bundle_fixtures.h"

using namespace tt;

namespace {

// What a search found, with the state that it says it went through.
struct Answer {
  uint64_t version, before, after;  // changes that had returned before it began; that had begun when it ended
  std::vector<std::string> ids;
};

}  // namespace

TEST_CASE("live catalog: eight threads search while one changes the items") {
  const ThreadScope one(1);  // a thread's own work is serial: OpenMP's teams are none of ThreadSanitizer's business
  constexpr int64_t kItems = 60, kSearchers = 8, kChanges = 400, kTop = 12;
  ModelConfig config = testing::rung_config("base");
  config.user_id_hash_size = 12, config.item_id_hash_size = kItems;
  testing::HandMade made(config, 12, kItems);
  const TempFolder folder;
  const Bundle bundle = Bundle::open(made.write(folder));
  LiveCatalog items(bundle);
  const Recommender recommender(bundle, items);
  const Filter filter(items.snapshot(), {.without = {"i3", "n4"}});

  std::atomic<uint64_t> begun{0}, done{0};
  std::atomic<bool> changing{true};
  std::vector<std::vector<Answer>> answers(kSearchers);
  std::vector<float> u(4);
  {
    Session session;
    const ServedUser user = recommender.known(int64_t{3});
    recommender.encode(session, {&user, 1}, u.data());
  }
  // By version: the items that the filter lets pass and that are on offer, by row, with their vectors.
  using State = std::map<int64_t, std::pair<std::string, std::vector<float>>>;
  std::vector<State> states(1);
  std::map<std::string, bool> offered;  // those that are there
  const auto record = [&](const std::map<std::string, bool>& there) {
    const Catalog now = items.snapshot();
    State state;
    for (const auto& [id, on] : there)
      if (on && id != "i3" && id != "n4")
        state[*now.find(id)] = {id, {now.vector(*now.find(id)), now.vector(*now.find(id)) + 4}};
    return state;
  };
  for (int64_t i = 0; i < kItems; ++i) offered["i" + std::to_string(i)] = true;
  states[0] = record(offered);

  std::vector<std::thread> threads;
  for (int64_t t = 0; t < kSearchers; ++t)
    threads.emplace_back([&, t] {
      const ThreadScope serial(1);
      Session session;
      TopItems top;
      do {
        Answer answer;
        answer.before = done;
        recommender.search(session, {u.data(), {1, 4}}, {.k = kTop, .among = &filter}, top);
        answer.after = begun;
        answer.version = session.catalog().version();
        for (const int64_t row : top.items(0)) answer.ids.emplace_back(session.catalog().id(row));
        if (answers[static_cast<size_t>(t)].size() < 2000) answers[static_cast<size_t>(t)].push_back(std::move(answer));
      } while (changing);
    });
  const Philox random(17);
  uint64_t at = 0;
  const auto draw = [&](int64_t n) { return static_cast<int64_t>(random.below(at++, static_cast<uint64_t>(n))); };
  while (done < kChanges) {
    const std::string id = draw(2) == 0 ? "i" + std::to_string(draw(kItems)) : "n" + std::to_string(draw(30));
    const std::vector<std::string_view> ids = {id};
    const std::vector<float> features = {static_cast<float>(draw(5)) - 2, static_cast<float>(draw(5)) - 2};
    const auto there = offered.find(id);
    ++begun;
    if (there == offered.end()) {
      items.add(ids, features), offered[id] = true;
    } else if (const int64_t what = draw(3); what == 0) {
      items.remove(ids), offered.erase(id);
    } else if (what == 1) {
      items.replace(ids, features);
    } else {
      const bool on = draw(2) == 0;
      items.set_available(ids, on), there->second = on;
    }
    ++done;
    states.push_back(record(offered));
  }
  changing = false;
  for (std::thread& thread : threads) thread.join();

  std::vector<std::vector<std::string>> expected;
  for (const State& state : states) {
    // Scores as the search makes them, of the items side by side in the order of rows.
    std::vector<float> vectors;
    std::vector<std::string> ids;
    for (const auto& [row, item] : state) {
      ids.push_back(item.first);
      vectors.insert(vectors.end(), item.second.begin(), item.second.end());
    }
    TopItems top;
    ExactIndex({vectors.data(), {static_cast<int64_t>(ids.size()), 4}}).search({u.data(), {1, 4}}, kTop, top);
    expected.emplace_back();
    for (const int64_t place : top.items(0)) expected.back().push_back(ids[static_cast<size_t>(place)]);
  }
  int64_t outside = 0, wrong = 0, between = 0;
  for (const auto& of_thread : answers) {
    CHECK(!of_thread.empty());
    for (const Answer& answer : of_thread) {
      outside += answer.version < answer.before || answer.version > answer.after;
      wrong += answer.ids != expected[answer.version];
      between += answer.version > 0 && answer.version < kChanges;
    }
  }
  CHECK(outside == 0);
  CHECK(wrong == 0);
  CHECK(between > 0);
}
