// Which pairs the main ranker is asked about, asking it, and a run that keeps what it said.

#include <doctest/doctest.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/fit/ranker_loop.h>
#include <twotower/train/fit/trainer.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "tests/train/evaluate/serving_fixtures.h"
#include "tests/train/fit/training_fixtures.h"

using namespace tt;

namespace {

namespace fs = std::filesystem;

std::vector<int64_t> rows(int64_t n) {
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

// 30 users and 40 items, valid actions after the train ones, a ranker's scores in the log if asked for, and a model
// that reads histories.
struct World : TempFolder {
  explicit World(bool scores = true, const std::vector<uint8_t>& available = {}) {
    DatasetContent content = made_up_content(30, 40, 5);
    content.valid = content.test;
    for (double& time : content.test.time) time += 1000;
    content.item_available = available;
    if (scores)
      for (InteractionColumns* split : {&content.train, &content.valid, &content.test})
        for (size_t i = 0; i < split->labels.size(); ++i)
          split->ranker_scores.push_back(0.1f * static_cast<float>(1 + i % 7));  // not alike for a user
    data = open_written(*this, content);
    ModelConfig config = small_config(data);
    config.history = true;
    model = std::make_unique<TwoTower<float>>(config, 5);
    served = std::make_unique<ServedDataset>(*model, data);
  }
  Dataset data;
  std::unique_ptr<TwoTower<float>> model;
  std::unique_ptr<ServedDataset> served;
};

std::vector<int32_t> items_of(const CandidatePairs& found, int64_t user, int uniform) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < found.uniform.size(); ++i)
    if (found.pairs.user[i] == user && found.uniform[i] == uniform) out.push_back(found.pairs.item[i]);
  return out;
}

bool equal(const RankerPairs& a, const RankerPairs& b) {
  return a.user == b.user && a.item == b.item && a.scores == b.scores;
}

}  // namespace

TEST_CASE("candidates: the policy's are the best inner products as of the end of training that have no score yet") {
  const World world;
  const RankerPairs asked{{4, 4}, {0, 39}, {0, 0, 1, 1}};
  const UserItems scored = scored_items(world.data, asked);
  const CandidatePairs found = choose_candidates(*world.served, rows(30), scored, {.per_user = 8, .uniform = 0.25});
  REQUIRE(found.pairs.size() == 30 * 8);
  const Impressions& train = world.data.split(Split::train);
  Session session;
  for (int64_t user = 0; user < 30; ++user) {
    std::set<int32_t> known;
    int64_t actions = 0;
    for (int64_t i = 0; i < train.size; ++i)
      if (train.user[i] == user) known.insert(train.item[i]), ++actions;
    if (user == 4) known.insert({0, 39});
    CHECK(latest_moment(world.data, user).history_end > actions);  // valid actions, which the policy shall not see
    float u[8];
    const UserMoment moment{user, actions};
    world.served->encode(session, {&moment, 1}, u);
    std::vector<std::pair<float, int32_t>> order;
    for (int32_t item = 0; item < 40; ++item) {
      if (known.count(item)) continue;
      float product = 0;
      for (int64_t d = 0; d < 8; ++d) product += u[d] * world.served->item_vectors()[item * 8 + d];
      order.emplace_back(-product, item);
    }
    std::sort(order.begin(), order.end());
    const std::vector<int32_t> policy = items_of(found, user, 0), uniform = items_of(found, user, 1);
    REQUIRE(policy.size() == 6);
    for (size_t i = 0; i < 6; ++i) CHECK(policy[i] == order[i].second);
    REQUIRE(uniform.size() == 2);
    CHECK(uniform[0] < uniform[1]);
    for (const int32_t item : uniform) {
      CHECK(known.count(item) == 0);
      CHECK(std::find(policy.begin(), policy.end(), item) == policy.end());
    }
  }
}

TEST_CASE("candidates: what the log shows without a ranker's score may be asked about") {
  const World with, without(false);
  const UserItems scored = scored_items(with.data, {}), none = scored_items(without.data, {});
  CHECK(scored.items.size() > 0);
  CHECK(none.items.empty());
  CHECK(choose_candidates(*without.served, rows(30), none, {.per_user = 1000}).pairs.size() == 30 * 40);
  // All that is left.
  CHECK(choose_candidates(*with.served, rows(30), scored, {.per_user = 1000}).pairs.size() ==
        30 * 40 - static_cast<int64_t>(scored.items.size()));
}

TEST_CASE("candidates: no item that is not on offer") {
  std::vector<uint8_t> available(40, 1);
  for (size_t item = 0; item < 40; item += 2) available[item] = 0;
  const World world(true, available);
  const UserItems scored = scored_items(world.data, {});
  for (const double uniform : {0.0, 0.5, 1.0}) {
    const CandidatePairs found =
        choose_candidates(*world.served, rows(30), scored, {.per_user = 6, .uniform = uniform});
    CHECK(found.pairs.size() == 30 * 6);
    for (const int32_t item : found.pairs.item) CHECK(item % 2 == 1);
  }
}

TEST_CASE("candidates: uniform ones are drawn alike, and the same for the same seed") {
  const World world;
  const UserItems scored = scored_items(world.data, {});
  const std::vector<int64_t> one = {7};
  const int64_t left = 40 - static_cast<int64_t>(scored.of(7).size());
  std::vector<int> drawn(40, 0);
  const int draws = 4000;
  for (int seed = 0; seed < draws; ++seed) {
    const CandidatePairs found = choose_candidates(*world.served, one, scored,
                                                   {.per_user = 3, .uniform = 1, .seed = static_cast<uint64_t>(seed)});
    REQUIRE(found.pairs.size() == 3);
    for (const int32_t item : found.pairs.item) ++drawn[static_cast<size_t>(item)];
  }
  const double mean = draws * 3.0 / static_cast<double>(left);
  for (int32_t item = 0; item < 40; ++item) {
    const auto known = scored.of(7);
    const bool out = std::binary_search(known.begin(), known.end(), item);
    CHECK(std::fabs(drawn[static_cast<size_t>(item)] - (out ? 0 : mean)) < 6 * std::sqrt(mean));
  }
  const auto with_seed = [&](uint64_t seed) {
    return choose_candidates(*world.served, rows(30), scored, {.per_user = 4, .uniform = 1, .seed = seed}).pairs.item;
  };
  CHECK(with_seed(3) == with_seed(3));
  CHECK(with_seed(3) != with_seed(4));
}

TEST_CASE("candidates: a share of all pairs, spread evenly") {
  const World world;
  const UserItems scored = scored_items(world.data, {});
  const CandidatePairs found = choose_candidates(*world.served, rows(30), scored, {.share = 0.02, .uniform = 0.5});
  CHECK(found.pairs.size() == 24);  // of 1,200
  CHECK(std::count(found.uniform.begin(), found.uniform.end(), 1) == 12);
  std::vector<int> of(30, 0);
  for (const int32_t user : found.pairs.user) ++of[static_cast<size_t>(user)];
  CHECK(*std::max_element(of.begin(), of.end()) == 1);
  CHECK(choose_candidates(*world.served, rows(10), scored, {.share = 0.1}).pairs.size() == 40);
}

TEST_CASE("candidates: options that mean nothing are refused") {
  const World world;
  const UserItems scored = scored_items(world.data, {});
  const auto says = [&](const std::vector<int64_t>& users, const CandidateOptions& options) {
    return error_of([&] { choose_candidates(*world.served, users, scored, options); });
  };
  CHECK(says(rows(30), {.per_user = 0}) == "[candidates] asks for 0 pairs a user; ask for 1 or more");
  CHECK(says(rows(30), {.share = 1.5}) ==
        "[candidates] the share of all pairs is 1.5, outside [0, 1]; 0.01 is one pair in a hundred");
  CHECK(says(rows(30), {.uniform = -0.1}) ==
        "[candidates] the uniform share is -0.1, outside [0, 1]; 0.5 draws half of a user's pairs uniformly");
  CHECK(says({3, 30}, {}) == "[candidates] user row 30 is out of range, there are 30 users");
}

TEST_CASE("ask_ranker: one call a user, each pair once, in order") {
  const Pairs pairs{{2, 0, 2, 2}, {5, 1, 3, 5}};
  std::vector<std::pair<int64_t, std::vector<int64_t>>> calls;
  const RankerPairs said =
      ask_ranker(pairs, 2, [&](int64_t user, std::span<const int64_t> items, std::span<float> scores) {
        calls.emplace_back(user, std::vector<int64_t>(items.begin(), items.end()));
        REQUIRE(scores.size() == 2 * items.size());
        for (size_t i = 0; i < items.size(); ++i)
          scores[2 * i] = static_cast<float>(items[i]) / 10, scores[2 * i + 1] = static_cast<float>(user) / 10;
      });
  CHECK(calls == std::vector<std::pair<int64_t, std::vector<int64_t>>>{{0, {1}}, {2, {3, 5}}});
  CHECK(equal(said, {{0, 2, 2}, {1, 3, 5}, {0.1f, 0, 0.3f, 0.2f, 0.5f, 0.2f}}));
}

TEST_CASE("ask_ranker: a score that is none is refused") {
  const Pairs pairs{{2, 2}, {5, 3}};
  const auto says = [&](float last) {
    return error_of([&] {
      ask_ranker(pairs, 2, [&](int64_t, std::span<const int64_t>, std::span<float> scores) {
        for (float& score : scores) score = 0.5f;
        scores[3] = last;
      });
    });
  };
  CHECK(says(1) == "");
  CHECK(says(1.5f) == "[ranker] says 1.5 of task 1, user row 2, item row 5; a score is a probability, in [0, 1]");
  CHECK(error_of([&] { ask_ranker(pairs, 1, [](int64_t, std::span<const int64_t>, std::span<float>) {}); }) ==
        "[ranker] says nan of task 0, user row 2, item row 3; a score is a probability, in [0, 1]");
  CHECK(error_of([&] {
          ask_ranker({{1}, {}}, 1, nullptr);
        }) == "[ranker] there are 1 users and 0 items; a pair has one of each");
  CHECK(error_of([&] { ask_ranker(pairs, 0, nullptr); }) ==
        "[ranker] asks for 0 tasks; a ranker says something of one at least");
}

TEST_CASE("ranker pairs: a run keeps a copy, from which it resumes") {
  const testing::Threads one(1);
  const World world;
  const std::string run = world.path() + "/run", copy = run + "/" + kRankerPairsFile;
  RunConfig config;
  config.data = world.data.dir(), config.model = small_config(world.data), config.train.epochs = 1;
  config.model.distill_towers = "points", config.train.list_passes = 1, config.train.list_recency = 1;
  TrainOptions options;
  options.ranker_pairs = {{4, 1}, {0, 3}, {0.5f, 0.25f, 1, 0}};
  const RankerPairs ordered{{1, 4}, {3, 0}, {1, 0, 0.5f, 0.25f}};
  train(config, world.data, run, options);
  CHECK(equal(load_ranker_pairs(copy, world.data), ordered));
  CHECK(open_run(run).config.ranker_pairs.size() == 32);

  options.resume = true;
  const auto resuming_says = [&](const RankerPairs& given) {
    ++config.train.epochs;
    options.ranker_pairs = given;
    const std::string text = error_of([&] { train(config, world.data, run, options); }, run);
    if (!text.empty()) --config.train.epochs;
    return text;
  };
  CHECK(resuming_says({}) == "");
  CHECK(resuming_says(ordered) == "");
  RankerPairs other = ordered;
  other.scores[0] = 0.5f;
  CHECK(resuming_says(other) ==
        "[train FILE] cannot resume: it was trained with other ranker pairs; leave --ranker-pairs out, or train anew "
        "without --resume");
  // What reads the copy, too, refuses one that is not what the run was trained with.
  const std::string packed = world.path() + "/packed";
  const auto all_say = [&](const std::string& text) {
    CHECK(resuming_says({}) == text);
    const RunConfig trained = open_run(run).config;
    CHECK(error_of([&] { ranker_pairs_of_run(run, trained, world.data); }, run) == text);
    CHECK(error_of([&] { pack_run(run, "", packed, /*users=*/true); }, run) == text);
    CHECK(fs::exists(packed) == text.empty());
  };
  const std::string good = read_whole_file(copy);
  save_ranker_pairs(copy, other);
  all_say(
      "[run FILE] ranker_pairs.safetensors does not hold the ranker pairs that it was trained with; put those "
      "back, or train anew");
  fs::remove(copy);
  all_say(
      "[run FILE] ranker_pairs.safetensors, its copy of the ranker pairs that it was trained with, is gone; put it "
      "back, or train anew");
  write_file_atomically(copy, good);
  all_say("");
  CHECK(equal(ranker_pairs_of_run(run, open_run(run).config, world.data), ordered));

  // Trained anew without pairs, nothing of the old ones stays.
  options.resume = false, options.ranker_pairs = {}, config.train.epochs = 1;
  train(config, world.data, run, options);
  CHECK(!fs::exists(copy));
  CHECK(open_run(run).config.ranker_pairs.empty());
  options.resume = true;
  CHECK(resuming_says(ordered) ==
        "[train FILE] cannot resume: it was trained without ranker pairs; leave --ranker-pairs out, or train anew "
        "without --resume");
  options.resume = false, options.ranker_pairs = {{30}, {0}, {0, 0}};
  CHECK(error_of([&] { train(config, world.data, run, options); }, run) ==
        "[train FILE] ranker pair 0: user 30 is out of range, there are 30 users; was it written for another dataset?");
}

TEST_CASE("ranker pairs: a model that learns nothing from them is not trained with them") {
  const testing::Threads one(1);
  const World world;
  TrainOptions options;
  options.ranker_pairs = {{4}, {0}, {0.5f, 0.25f}};
  for (const std::string rung : {"base", "history", "light", "kd", "reward", "aligned"}) {
    INFO(rung);
    RunConfig config;
    config.data = world.data.dir(), config.model = small_config(world.data), config.train.epochs = 1;
    config.train.list_passes = 1, config.train.reward_passes = 1, config.train.list_recency = 1;
    config.model.reward_members = 1;
    apply_rung(config, rung);
    const std::string run = world.path() + "/" + rung;
    const std::string text = error_of([&] { train(config, world.data, run, options); }, run);
    const bool learns = rung == "kd" || rung == "reward" || rung == "aligned";
    CHECK(fs::exists(run) == learns);
    CHECK(text == (learns ? ""
                          : "[train FILE] this model learns nothing from what a ranker says; leave --ranker-pairs out, "
                            "or train kd, reward or aligned"));
  }
}
