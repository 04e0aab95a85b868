// A user in, the best items out: by id, in words and as rows; filters, the light ranker, and many threads at once.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/tensor/threads/parallel.h>

#include <cmath>
#include <numeric>
#include <thread>

#include "tests/models/bundle_fixtures.h"

using namespace tt;

namespace {

ModelConfig config_of(const std::string& rung, int64_t users = 12, int64_t items = 40) {
  ModelConfig config = testing::rung_config(rung);
  config.user_id_hash_size = users, config.item_id_hash_size = items;
  config.num_mips_items = 15;
  if (config.history) config.history_actions = 2;
  return config;
}

// A bundle of 12 users and 40 items, opened.
struct Opened {
  explicit Opened(const ModelConfig& config, bool users = true)
      : made(config, config.user_id_hash_size, config.item_id_hash_size) {
    if (!users) made.content.users = nullptr;
    bundle = Bundle::open(made.write(folder));
  }
  TempFolder folder;
  testing::HandMade made;
  Bundle bundle;
};

// The order of all items that are not left out, by the model without any of what serving adds.
std::vector<int64_t> plain_order(const Opened& o, int64_t id, const std::vector<float>& features,
                                 const std::vector<int64_t>& history, const std::vector<uint8_t>& actions,
                                 const std::vector<int64_t>& leave_out) {
  const TwoTower<float>& model = o.made.model;
  const auto n = static_cast<int64_t>(history.size());
  const std::vector<int64_t> ids = {id}, offsets = {0, n};
  UserInputs<float> user;
  user.id = {ids.data(), {1}}, user.features = {features.data(), {1, 3}};
  user.history_offsets = {offsets.data(), {2}}, user.history_items = {history.data(), {n}};
  user.history_actions = {actions.data(), {n, 2}};
  Arena arena;
  Tape<float> tape(arena, /*recording=*/false);
  const auto served = model.serve(tape, user);
  const Tensor<const float> v = o.made.content.items.vectors;
  std::vector<float> score(static_cast<size_t>(v.rows()));
  for (int64_t i = 0; i < v.rows(); ++i)
    score[static_cast<size_t>(i)] = std::inner_product(v.row(i), v.row(i) + v.cols(), served.u.value().data(), 0.0f);
  std::vector<int64_t> order;
  for (int64_t i = 0; i < v.rows(); ++i)
    if (std::count(leave_out.begin(), leave_out.end(), i) == 0) order.push_back(i);
  const auto by_score = [&](int64_t a, int64_t b) {
    return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)];
  };
  std::stable_sort(order.begin(), order.end(), by_score);
  if (!model.light_ranker()) return order;
  order.resize(std::min<size_t>(order.size(), static_cast<size_t>(model.config().num_mips_items)));
  std::sort(order.begin(), order.end());
  std::vector<float> values(score.size());
  model.rank(tape, served.ranker.value().data(), served.u.value().data(), v, values.data());
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
  return order;
}

std::vector<int64_t> rows_of(const TopItems& top, int64_t q = 0) { return {top.items(q).begin(), top.items(q).end()}; }

}  // namespace

TEST_CASE("recommender: users of the bundle get what the model alone gives, by id and in a batch") {
  for (const char* rung : {"base", "history", "debias", "light", "kd"}) {
    INFO("rung ", rung);
    const ModelConfig config = config_of(rung);
    const Opened o(config);
    const Recommender recommender(o.bundle);
    Session session;
    TopItems top, all;
    std::vector<ServedUser> users;
    for (int64_t u = 0; u < 12; ++u) users.push_back(recommender.known(u));
    recommender.recommend(session, users, {.k = 10}, all);
    for (int64_t u = 0; u < 12; ++u) {
      std::vector<int64_t> history, seen;
      std::vector<uint8_t> actions;
      for (int64_t n = u % 5 - 1; n >= std::max<int64_t>(0, u % 5 - config.user_history_seqlen); --n) {  // newest first
        history.push_back((u + n) % 40);
        for (int64_t a = 0; a < 2; ++a) actions.push_back((u + n + a) % 2 == 0);
      }
      for (int64_t n = 0; n <= u % 5; ++n) seen.push_back((u + n) % 40);
      const float* features = o.made.user_features.data() + u * 3;
      const std::vector<int64_t> order =
          plain_order(o, u < 11 ? u : -1, {features, features + 3}, history, actions, seen);
      recommender.recommend(session, "u" + std::to_string(u), {.k = 10}, top);
      CHECK(rows_of(top) == std::vector<int64_t>(order.begin(), order.begin() + 10));
      CHECK(rows_of(top) == rows_of(all, u));
      for (size_t r = 1; r < 10; ++r) CHECK(top.scores(0)[r - 1] >= top.scores(0)[r]);
      recommender.recommend(session, "u" + std::to_string(u), {.k = 10, .include_seen = true}, top);
      CHECK(rows_of(top) == [&] {
        std::vector<int64_t> whole = plain_order(o, u < 11 ? u : -1, {features, features + 3}, history, actions, {});
        whole.resize(10);
        return whole;
      }());
    }
  }
}

TEST_CASE("recommender: a user in words") {
  const Opened o(config_of("history"));
  const Recommender recommender(o.bundle);
  Session session;
  TopItems top;
  const std::vector<NamedValue> features = {{"age", "45"}, {"town", "y"}, {"zip", "1"}};
  const std::vector<std::string_view> history = {"i7", "i2", "i39", "nothing"}, exclude = {"i3", "i7"};
  const Unknown unknown =
      recommender.recommend(session, {.features = features, .history = history, .exclude = exclude}, {.k = 10}, top);
  CHECK(unknown.items == 1);
  CHECK(unknown.values == 0);
  // The last item is not learnt: it is left out of the history, and not returned.
  std::vector<int64_t> order = plain_order(o, -1, {1.5f, 0, 1}, {7, 2}, {1, 0, 1, 0}, {2, 3, 7, 39});
  order.resize(10);
  CHECK(rows_of(top) == order);

  // What is excluded by name stays out where seen items may come.
  recommender.recommend(session, {.features = features, .history = history, .exclude = exclude},
                        {.k = 1000000000, .include_seen = true}, top);
  order = plain_order(o, -1, {1.5f, 0, 1}, {7, 2}, {1, 0, 1, 0}, {3, 7});
  CHECK(rows_of(top) == order);
  float scores[2];
  const std::vector<int64_t> beyond = {0, recommender.catalog().rows()};
  CHECK(error_of([&] { recommender.score(session, ServedUser(), beyond, scores); }) ==
        "[recommend] there is no item row 40, there are 40");

  const std::vector<NamedValue> strange = {{"town", "z"}, {"age", "old"}}, wrong = {{"twon", "x"}};
  CHECK(recommender.recommend(session, {.features = strange}, {.k = 10}, top).values == 2);
  order = plain_order(o, -1, {0, 0, 0}, {}, {}, {});
  order.resize(10);
  CHECK(rows_of(top) == order);
  CHECK(error_of([&] { recommender.recommend(session, {.features = wrong}, {.k = 10}, top); }) ==
        "[recommend] \"twon\" is no user feature of the model; did you mean \"town\"?");
}

TEST_CASE("recommender: without users in the bundle, those in words are served and ids are refused") {
  const Opened o(config_of("history"), /*users=*/false);
  const Recommender recommender(o.bundle);
  Session session;
  TopItems top;
  const std::vector<NamedValue> features = {{"age", "45"}};
  recommender.recommend(session, {.features = features}, {.k = 10}, top);
  std::vector<int64_t> order = plain_order(o, -1, {1.5f, 0, 0}, {}, {}, {});
  order.resize(10);
  CHECK(rows_of(top) == order);
  CHECK(error_of([&] { recommender.recommend(session, "u1", {.k = 10}, top); }, o.folder.path()) ==
        "[recommend] the bundle FILE/bundle.safetensors holds no users (--no-users); describe the user by features and "
        "history, or pack one with users");
}

TEST_CASE("recommender: items that training has not met are left out of a history, and go without an id") {
  const ModelConfig config = config_of("history");
  const Opened o(config);
  const Recommender recommender(o.bundle);
  Session session;
  std::vector<float> with(4), without(4);
  const std::vector<int32_t> history = {3, 5, 39, 8, 39}, learnt = {3, 5, 8};
  const ServedUser a{.row = 2, .history = history}, b{.row = 2, .history = learnt};
  recommender.encode(session, {&a, 1}, with.data());
  recommender.encode(session, {&b, 1}, without.data());
  CHECK(with == without);
  const std::vector<int32_t> beyond = {40};
  const ServedUser lost{.history = beyond}, stranger{.row = 12};
  CHECK(error_of([&] {
          recommender.encode(session, {&lost, 1}, with.data());
        }) == "[recommend] a history holds the item row 40, the catalog has 0 .. 39");
  CHECK(error_of([&] {
          recommender.encode(session, {&stranger, 1}, with.data());
        }) == "[recommend] user row 12 is not in 0 .. 11; -1 stands for a user whom training has not met");
  recommender.encode(session, {&a, 1}, with.data());  // a call that threw leaves the session usable
  CHECK(with == without);
}

TEST_CASE("recommender: filters by category, and only some items") {
  const Opened o(config_of("base"));
  const Recommender recommender(o.bundle);
  const Catalog catalog = recommender.catalog();
  Session session;
  TopItems top, all;
  const Filter odd(catalog, {.where = {{"genre", {"b"}}}});
  CHECK(catalog.count(&odd) == 20);
  recommender.recommend(session, "u3", {.k = 36}, all);
  recommender.recommend(session, "u3", {.k = 10, .among = &odd}, top);
  std::vector<int64_t> expected;
  for (const int64_t row : rows_of(all))
    if (row % 2 == 1 && expected.size() < 10) expected.push_back(row);
  CHECK(rows_of(top) == expected);
  const Filter one(catalog, {.where = {{"genre", {"b"}}, {"title", {"The other"}}}});
  recommender.recommend(session, "u3", {.k = 10, .among = &one}, top);
  CHECK(rows_of(top) == std::vector<int64_t>{1});
  const Filter either(catalog, {.where = {{"title", {"The one", "The other"}}}});
  CHECK(catalog.count(&either) == 2);
  CHECK(catalog.title(1) == "The other");
  CHECK(catalog.title(2) == "");
  const Filter none(catalog, {.where = {{"genre", {"ö"}}}});
  recommender.recommend(session, "u3", {.k = 3, .among = &none}, top);
  CHECK(top.counts[0] == 0);
  const Filter everything(catalog, {});
  CHECK(catalog.count(&everything) == 40);
  const Filter five(catalog, {.only = {{"i0", "i1", "i2", "i3", "i4", "nothing"}}}),
      three(catalog, {.where = {{"genre", {"a"}}}, .only = {{"i0", "i1", "i2", "i3", "i4"}}, .without = {"i4", "i7"}});
  recommender.recommend(session, "u0", {.k = 10, .among = &five}, top);
  CHECK(top.counts[0] == 4);  // u0 was shown i0
  recommender.recommend(session, "u1", {.k = 10, .include_seen = true, .among = &three}, top);
  std::vector<int64_t> found = rows_of(top);
  std::sort(found.begin(), found.end());
  CHECK(found == std::vector<int64_t>{0, 2});
  // Ids of a call, whether seen items may come or not.
  const std::vector<std::string_view> out = {session.catalog().id(rows_of(all)[0]), "nothing", "i17"};
  std::vector<int64_t> rest = rows_of(all);
  rest.erase(rest.begin());
  std::erase(rest, 17);
  rest.resize(20);
  recommender.recommend(session, "u3", {.k = 20, .exclude = out}, top);
  CHECK(rows_of(top) == rest);
  recommender.recommend(session, "u3", {.k = 40, .include_seen = true, .exclude = out}, top);
  CHECK(top.counts[0] == 38);
  CHECK(error_of([&] {
          Filter(catalog, {.where = {{"gerne", {"b"}}}});
        }) == "[filter] items have no column \"gerne\" of categories; did you mean \"genre\"?");
  CHECK(error_of([&] {
          Filter(catalog, {.where = {{"title", {"The othr"}}}});
        }) == "[filter] no item has title = \"The othr\"; did you mean \"The other\"?");
  const Catalog other(o.bundle);
  CHECK(error_of([&] { Recommender(o.bundle, other).recommend(session, "u3", {.among = &odd}, top); }) ==
        "[filter] the filter was made for another catalog; make one for the catalog that is searched");
}

TEST_CASE("recommender: what a light ranker puts first does not depend on how many are asked for") {
  const Opened o(config_of("light"));
  const Recommender recommender(o.bundle);
  CHECK(recommender.most() == 15);
  Session session;
  TopItems few, many;
  for (int64_t u = 0; u < 12; ++u) {
    const ServedUser user = recommender.known(u);
    recommender.recommend(session, {&user, 1}, {.k = 3}, few);
    recommender.recommend(session, {&user, 1}, {.k = 15}, many);
    std::vector<int64_t> head = rows_of(many);
    head.resize(3);
    CHECK(rows_of(few) == head);
  }
  CHECK(error_of([&] { recommender.recommend(session, "u1", {.k = 16}, few); }) ==
        "[retrieve] k = 16 is more than the 15 candidates that the light ranker puts in order; ask for fewer, or raise "
        "--candidates");
  recommender.recommend(session, "u1", {.k = 16, .candidates = 30}, few);
  CHECK(few.counts[0] == 16);
}

TEST_CASE("recommender: a model with a light ranker serves by its towers alone if asked to") {
  const Opened o(config_of("light"));
  const Recommender recommender(o.bundle);
  const Ask towers{.k = 40, .include_seen = true, .rerank = false};
  CHECK(recommender.most(towers) == 40);  // no candidates bound it
  const ServedUser user = recommender.known(3);
  Session session;
  TopItems top;
  recommender.recommend(session, {&user, 1}, towers, top);
  std::vector<float> u(static_cast<size_t>(recommender.catalog().width())), scores(40), values(40);
  recommender.encode(session, {&user, 1}, u.data());
  const std::vector<int64_t> order = rows_of(top);
  recommender.score(session, user, order, scores.data(), towers);
  for (size_t r = 0; r < order.size(); ++r) {
    const float* v = session.catalog().vector(order[r]);
    CHECK(top.scores(0)[r] == doctest::Approx(std::inner_product(u.begin(), u.end(), v, 0.0f)).epsilon(1e-4));
    CHECK(scores[r] == doctest::Approx(top.scores(0)[r]).epsilon(1e-4));
    if (r > 0) CHECK(top.scores(0)[r - 1] >= top.scores(0)[r]);
  }
  recommender.score(session, user, order, values.data());
  CHECK(values != scores);

  CHECK(error_of([&] { recommender.recommend(session, "u1", {.rerank = false, .candidates = 30}, top); }) ==
        "[retrieve] --candidates 30 are for a light ranker to put in order, and this model's is left out; leave "
        "--candidates out");
  const Opened base(config_of("base"));
  CHECK(error_of([&] { Recommender(base.bundle).recommend(session, "u1", {.candidates = 30}, top); }) ==
        "[retrieve] --candidates 30 are for a light ranker to put in order, and this model has none; leave "
        "--candidates out");
}

TEST_CASE("recommender: threads that share one get what one thread gets") {
  for (const char* rung : {"history", "kd"}) {
    const Opened o(config_of(rung));
    const Recommender recommender(o.bundle);
    std::vector<std::vector<int64_t>> alone;
    {
      Session session;
      TopItems top;
      for (int64_t u = 0; u < 12; ++u) {
        recommender.recommend(session, "u" + std::to_string(u), {.k = 7}, top);
        alone.push_back(rows_of(top));
      }
    }
    const int before = num_threads();
    set_num_threads(1);
    std::vector<int64_t> wrong(4, 0);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < wrong.size(); ++t)
      threads.emplace_back([&, t] {
        Session session;
        TopItems top;
        for (int round = 0; round < 50; ++round)
          for (int64_t u = 0; u < 12; ++u) {
            recommender.recommend(session, "u" + std::to_string(u), {.k = 7}, top);
            wrong[t] += rows_of(top) != alone[static_cast<size_t>(u)];
          }
      });
    for (std::thread& thread : threads) thread.join();
    set_num_threads(before);
    CHECK(wrong == std::vector<int64_t>(4, 0));
  }
}

TEST_CASE("recommender: a model in memory, without a bundle") {
  const ModelConfig config = config_of("base");
  const TwoTower<float> model(config);
  std::vector<float> vectors(40 * 4), features(40 * 2, 0.5f);
  const std::vector<uint8_t> learnt(40, 1);
  encode_items(model, {40, learnt.data(), features.data()}, vectors.data());
  const Recommender recommender(model, Catalog({vectors.data(), {40, 4}}, learnt));
  Session session;
  TopItems top;
  const ServedUser user{.row = 3};
  recommender.recommend(session, {&user, 1}, {.k = 5}, top);
  CHECK(top.counts[0] == 5);
  CHECK(error_of([&] { recommender.recommend(session, "u3", {.k = 5}, top); }) ==
        "[recommend] users by id or in words need a bundle; open one, or give rows");
  CHECK(error_of([&] {
          recommender.recommend(session, {&user, 1}, {.k = 0}, top);
        }) == "[retrieve] k = 0; ask for at least 1 item");
}
