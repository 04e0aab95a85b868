// Items that come, change and go while a recommender serves them: how they are encoded, found, filtered and read in
// histories.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/recommender.h>

#include <algorithm>

#include "tests/models/bundle_fixtures.h"

using namespace tt;

namespace {

// Its vocabulary is not in the order of the bundle's codes: b, a, ö.
constexpr const char* kGenres =
    R"({"columns": ["genre=a", "genre=b"], "sources": [
        {"name": "genre", "kind": "categorical", "first": 0, "width": 2, "vocabulary": ["a", "b"]},
        {"name": "title", "kind": "categorical", "first": 2, "width": 0, "left_out": "many", "vocabulary": ["x"]}]})";

struct Opened {
  explicit Opened(const std::string& rung) : made(config(rung), 12, 40) {
    made.content.item_encoder = FeatureEncoder(kGenres, "test");
    bundle = Bundle::open(made.write(folder));
  }
  static ModelConfig config(const std::string& rung) {
    ModelConfig config = testing::rung_config(rung);
    config.user_id_hash_size = 12, config.item_id_hash_size = 40, config.num_mips_items = 60;
    return config;
  }
  // The vector of an item by the item tower alone.
  std::vector<float> vector(int64_t id, std::vector<float> features) const {
    std::vector<float> out(4);
    encode_items(bundle.model(), {.count = 1, .features = features.data(), .ids = &id}, out.data());
    return out;
  }
  TempFolder folder;
  testing::HandMade made;
  Bundle bundle;
};

using Ids = std::vector<std::string_view>;

void check_vector(const Catalog& catalog, std::string_view id, const std::vector<float>& expected) {
  const float* found = catalog.vector(*catalog.find(id));
  for (size_t d = 0; d < expected.size(); ++d) CHECK(found[d] == doctest::Approx(expected[d]).epsilon(1e-5));
}

std::vector<std::string> ids_of(const Session& session, const TopItems& top) {
  std::vector<std::string> out;
  for (const int64_t row : top.items(0)) out.emplace_back(session.catalog().id(row));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

TEST_CASE("live catalog: an item that training has met keeps what was learnt of it, others go by their features") {
  const Opened o("base");
  LiveCatalog items(o.bundle);
  items.add(Ids{"n0", "n1"}, std::vector<float>{1, 0, 0, 1});
  items.replace(Ids{"i3", "i39", "n1"}, std::vector<float>{1, 0, 0, 1, 1, 0});
  items.remove(Ids{"i7", "n0"});
  CHECK_FALSE(items.snapshot().find("i7"));
  items.add(Ids{"i7"}, std::vector<float>{0, 1});
  const Catalog now = items.snapshot();
  check_vector(now, "n1", o.vector(-1, {1, 0}));
  check_vector(now, "i3", o.vector(3, {1, 0}));
  check_vector(now, "i39", o.vector(-1, {0, 1}));  // the last one is not learnt
  check_vector(now, "i7", o.vector(7, {0, 1}));
  CHECK(now.learnt_row(*now.find("i7")) == 7);
  CHECK(now.learnt_row(*now.find("i39")) == -1);
  CHECK(now.learnt_row("i39") == -1);
  CHECK(now.learnt_row("i3") == 3);
  CHECK(now.learnt_row("n1") == -1);
  CHECK(now.size() == 41);
}

TEST_CASE("live catalog: in words, with values of categories that filters ask for") {
  const Opened o("base");
  LiveCatalog items(o.bundle);
  const Filter b(items.snapshot(), {.where = {{"genre", {"b"}}}}),
      other(items.snapshot(), {.where = {{"title", {"The other"}}}});
  CHECK(items.snapshot().count(&b) == 20);
  const Unknown unknown = items.add(std::vector<NewItem>{{"n0", {{"genre", "b"}, {"title", "The other"}}},
                                                         {"n1", {{"genre", "a"}, {"title", "Never seen"}}},
                                                         {"n2", {{"genre", "opera"}}},
                                                         {"n3", {}}});
  CHECK(unknown.values == 2);
  Catalog now = items.snapshot();
  check_vector(now, "n0", o.vector(-1, {0, 1}));
  check_vector(now, "n2", o.vector(-1, {0, 0}));
  CHECK(now.count(&b) == 21);
  CHECK(now.count(&other) == 2);
  CHECK(now.title(*now.find("n0")) == "The other");
  CHECK(now.title(*now.find("n1")) == "");

  // What the features do not hold stays when they are replaced; what they hold is as they say.
  items.replace(Ids{"i1", "n0"}, std::vector<float>{1, 0, 1, 0});
  now = items.snapshot();
  CHECK(now.title(*now.find("i1")) == "The other");
  CHECK(now.count(&other) == 2);
  CHECK(now.count(&b) == 19);
  items.replace(std::vector<NewItem>{{"i1", {{"genre", "b"}, {"title", "The one"}}}});
  CHECK(items.snapshot().count(&other) == 1);
  CHECK(items.snapshot().count(&b) == 20);

  CHECK(error_of([&] {
          items.add(std::vector<NewItem>{{"n9", {{"gerne", "b"}}}});
        }) == "[recommend] \"gerne\" is no item feature of the model; did you mean \"genre\"?");
  CHECK(error_of([&] {
          items.add(Ids{"n9"}, std::vector<float>{1, 2, 3});
        }) == "[catalog] the features of 1 added items hold 3 numbers, the model reads 2 an item");
  CHECK(error_of([&] {
          items.add(Ids{"n9", "i1"}, std::vector<float>{1, 0, 0, 1});
        }) == "[catalog] item \"i1\" is there already; replace it, or leave it out");
  CHECK_FALSE(items.snapshot().find("n9"));  // all or nothing
}

TEST_CASE("live catalog: a recommender serves each call from one state, and rows mean what they meant then") {
  for (const char* rung : {"base", "kd"}) {
    INFO("rung ", rung);
    const Opened o(rung);
    LiveCatalog items(o.bundle);
    const Recommender recommender(o.bundle, items);
    Session session, later;
    TopItems top, again;
    const Ask all{.k = 60, .include_seen = true};
    recommender.recommend(session, "u3", all, top);
    CHECK(ids_of(session, top).size() == 40);
    items.add(Ids{"n0", "n1"}, std::vector<float>{1, 0, 0, 1});
    items.remove(Ids{"i5"});
    items.set_available(Ids{"i6", "n1"}, false);
    recommender.recommend(session, "u3", all, top);
    std::vector<std::string> found = ids_of(session, top);
    CHECK(found.size() == 39);
    for (const char* gone : {"i5", "i6", "n1"}) CHECK(std::count(found.begin(), found.end(), gone) == 0);
    CHECK(std::count(found.begin(), found.end(), "n0") == 1);
    CHECK(recommender.most(all) == 39);

    // While the items change, and what came is merged and goes, the answer stays what it was.
    const int64_t best = top.items(0)[0], n0 = *session.catalog().find("n0");
    const std::string best_id(session.catalog().id(best));
    items.remove(Ids{"n0"});
    items.remove(std::vector<std::string_view>{best_id});
    for (int i = 0; i < 20; ++i) items.replace(Ids{"i8"}, std::vector<float>{1, 0});
    CHECK(session.catalog().id(best) == best_id);
    CHECK(session.catalog().id(n0) == "n0");
    float score = 0;
    const ServedUser user = recommender.known("u3");
    recommender.score(session, user, std::vector<int64_t>{best}, &score);
    CHECK(score == doctest::Approx(top.scores(0)[0]).epsilon(1e-4));
    recommender.score(session, user, std::vector<int64_t>{n0}, &score);
    for (size_t r = 0; r < top.items(0).size(); ++r)
      if (top.items(0)[r] == n0) CHECK(score == doctest::Approx(top.scores(0)[r]).epsilon(1e-4));
    CHECK(error_of([&] { recommender.score(session, user, Ids{"n0"}, &score); }) ==
          "[recommend] there is no item \"n0\"; it may have been removed");
    recommender.recommend(later, "u3", all, again);
    found = ids_of(later, again);
    CHECK(found.size() == 37);
    CHECK(std::count(found.begin(), found.end(), best_id) == 0);
    recommender.score(later, user, Ids{"i8"}, &score);
    for (size_t r = 0; r < again.items(0).size(); ++r)
      if (later.catalog().id(again.items(0)[r]) == "i8")
        CHECK(score == doctest::Approx(again.scores(0)[r]).epsilon(1e-4));
  }
}

TEST_CASE("live catalog: what a user has seen stays away when it is replaced, and histories read what was learnt") {
  const Opened o("history");
  LiveCatalog items(o.bundle);
  const Recommender recommender(o.bundle, items);
  Session session;
  TopItems top;
  const Ids history = {"i7", "i2"};
  std::vector<float> before(4), after(4);
  const std::vector<int32_t> rows = {2, 7};
  const ServedUser reader{.history = rows, .leave_out = rows};
  recommender.encode(session, {&reader, 1}, before.data());
  items.replace(Ids{"i7"}, std::vector<float>{1, 0});
  items.remove(Ids{"i2"});
  recommender.encode(session, {&reader, 1}, after.data());
  CHECK(before == after);
  // Also under the row that the replaced item has now.
  const std::vector<int32_t> renewed = {2, static_cast<int32_t>(*items.snapshot().find("i7"))};
  CHECK(renewed[1] >= 40);
  const ServedUser again{.history = renewed};
  recommender.encode(session, {&again, 1}, after.data());
  CHECK(before == after);
  for (const bool in_words : {false, true}) {
    INFO("in words ", in_words);
    if (in_words)
      CHECK(recommender.recommend(session, NewUser{.history = history}, {.k = 60}, top).items == 0);
    else
      recommender.recommend(session, {&reader, 1}, {.k = 60}, top);
    const auto found = ids_of(session, top);
    CHECK(found.size() == 38);
    CHECK(std::count(found.begin(), found.end(), "i7") == 0);
  }
  // By inner products with the same vector: the history in words is read as the one by rows.
  TopItems by_vector;
  recommender.search(session, {after.data(), {1, 4}}, {.k = 60, .exclude = history}, by_vector);
  CHECK(by_vector.rows == top.rows);
  items.add(Ids{"i2"}, std::vector<float>{1, 0});  // back again
  recommender.recommend(session, {&reader, 1}, {.k = 60}, top);
  CHECK(ids_of(session, top).size() == 38);
  recommender.recommend(session, {&reader, 1}, {.k = 60, .include_seen = true}, top);
  CHECK(ids_of(session, top).size() == 40);
}

TEST_CASE("live catalog: items of a model without item features can go, and not come") {
  ModelConfig config = Opened::config("base");
  config.item_features_size = 0;
  testing::HandMade made(config, 12, 40);
  made.content.item_encoder = FeatureEncoder(R"({"columns": ["constant"]})", "test");
  const TempFolder folder;
  const Bundle bundle = Bundle::open(made.write(folder));
  LiveCatalog items(bundle);
  items.remove(Ids{"i1"});
  CHECK(items.snapshot().size() == 39);
  CHECK(error_of([&] { items.add(Ids{"n1"}, {}); }) ==
        "[catalog] the model has no item features, so all added items would look the same; train one with item "
        "features");
}
