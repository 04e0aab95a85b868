// The C interface does what the library does, and says what went wrong in codes and texts.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/recommender.h>

#include <thread>

#include "tests/models/retrieval/c_api/c_fixtures.h"

extern "C" int drive(const char* path, const void* bytes, size_t size, const char* saved);

using namespace tt;
using testing::ids_of;
using testing::user_of;

namespace {

std::vector<std::string> ids_of(const Session& session, const TopItems& top, int64_t q = 0) {
  std::vector<std::string> out;
  for (const int64_t row : top.items(q)) out.emplace_back(session.catalog().id(row));
  return out;
}

}  // namespace

TEST_CASE("C interface: a program in C99 that has its header alone drives all of it") {
  for (const char* rung : {"history", "kd"}) {
    const testing::Written w(testing::c_config(rung));
    const std::string bytes = read_whole_file(w.path), saved = w.folder.path() + "/saved.safetensors";
    CHECK(drive(w.path.c_str(), bytes.data(), bytes.size(), saved.c_str()) == 0);
  }
}

TEST_CASE("C interface: users by id and in words, in one batch, get what the recommender gives them") {
  for (const char* rung : {"base", "history", "light", "kd"}) {
    INFO("rung ", rung);
    const testing::Written w(testing::c_config(rung));
    const Bundle bundle = Bundle::open(w.path);
    const Recommender recommender(bundle);
    Session session;
    TopItems top;
    const testing::Open c(w.path);
    const tt_feature features[] = {{"age", "45"}, {"town", "nowhere"}};
    const char* const history[] = {"i7", "i39", "i2", "nothing"};
    const char* const exclude[] = {"i3", "i7"};
    std::vector<tt_user> users;
    std::vector<std::string> names;
    for (int u = 0; u < 12; ++u) names.push_back("u" + std::to_string(u));
    for (const std::string& name : names) users.push_back(user_of(name.c_str()));
    users.push_back({sizeof(tt_user), nullptr, features, 2, history, 4, exclude, 2});
    users.push_back({sizeof(tt_user), "u7", nullptr, 0, nullptr, 0, exclude, 2});
    for (const bool seen : {false, true}) {
      const tt_query_options options = {sizeof options, nullptr, 0, seen, 0};
      const tt_results* out = nullptr;
      REQUIRE(tt_recommend(c.session, users.data(), users.size(), 6, &options, &out) == TT_OK);
      REQUIRE(out->queries == 14);
      for (size_t u = 0; u < 12; ++u) {
        recommender.recommend(session, names[u], {.k = 6, .include_seen = seen}, top);
        CHECK(ids_of(out, u) == ids_of(session, top));
        for (size_t r = 0; r < 6; ++r)  // a batch's products may differ in last bits
          CHECK(out->scores[u * 6 + r] == doctest::Approx(top.scores(0)[r]).epsilon(1e-5));
      }
      const std::vector<NamedValue> named = {{"age", "45"}, {"town", "nowhere"}};
      const std::vector<std::string_view> read(history, history + 4), without(exclude, exclude + 2);
      const NewUser words{.features = named, .history = read, .exclude = without};
      const Unknown unknown = recommender.recommend(session, words, {.k = 6, .include_seen = seen}, top);
      CHECK(ids_of(out, 12) == ids_of(session, top));
      CHECK(out->unknown_values == static_cast<size_t>(unknown.values));
      CHECK(out->unknown_items == static_cast<size_t>(unknown.items));
      recommender.recommend(session, "u7", {.k = 6, .include_seen = seen, .exclude = without}, top);
      CHECK(ids_of(out, 13) == ids_of(session, top));
    }
    CHECK(std::string(tt_session_error(c.session)).empty());
  }
}

TEST_CASE("C interface: what is saved serves as what was served, and knows what was removed") {
  const testing::Written w(testing::c_config("history"));
  const std::string saved = w.folder.path() + "/saved.safetensors";
  const testing::Open a(w.path);
  const tt_feature features[] = {{"year", "2010"}, {"genre", "b"}};
  const tt_item fresh[] = {{sizeof(tt_item), "new1", features, 2}, {sizeof(tt_item), "new2", features, 1}};
  const tt_item other[] = {{sizeof(tt_item), "i4", features, 2}, {sizeof(tt_item), "new2", features, 2}};
  const char *const gone[] = {"i6", "new1"}, *const off[] = {"i8"};
  REQUIRE(tt_model_add_items(a.model, fresh, 2, nullptr) == TT_OK);
  REQUIRE(tt_model_replace_items(a.model, other, 2, nullptr) == TT_OK);
  REQUIRE(tt_model_remove_items(a.model, gone, 2) == TT_OK);
  REQUIRE(tt_model_set_available(a.model, off, 1, 0) == TT_OK);
  REQUIRE(tt_model_save(a.model, saved.c_str()) == TT_OK);
  Bundle::open(saved).verify();
  const testing::Open b(saved);
  tt_info info = {};
  info.struct_size = sizeof info;
  REQUIRE(tt_model_info(b.model, &info) == TT_OK);
  CHECK(info.items == 40);
  CHECK(info.items_available == 39);
  const char* const genres[] = {"b"};
  const tt_condition condition = {"genre", genres, 1};
  const tt_filter_options only_b = {sizeof only_b, nullptr, 0, nullptr, 0, &condition, 1};
  for (const testing::Open* c : {&a, &b}) {
    const tt_results* top = nullptr;
    tt_filter* filter = nullptr;
    REQUIRE(tt_filter_open(c->model, &only_b, &filter) == TT_OK);
    const tt_query_options options = {sizeof options, filter, 0, 1, 0};
    const tt_user user = user_of("u9");
    REQUIRE(tt_recommend(c->session, &user, 1, 100, &options, &top) == TT_OK);
    CHECK(top->counts[0] == 22);  // 20 of the bundle, i4 and new2
    tt_filter_close(filter);
  }
  std::vector<std::vector<std::string>> ids[2];
  std::vector<float> scores[2];
  for (int which = 0; which < 2; ++which)
    for (int u = 0; u < 12; ++u) {
      const std::string name = "u" + std::to_string(u);
      const tt_user user = user_of(name.c_str());
      const tt_results* top = nullptr;
      REQUIRE(tt_recommend((which ? b : a).session, &user, 1, 100, nullptr, &top) == TT_OK);
      ids[which].push_back(ids_of(top));
      std::sort(ids[which].back().begin(), ids[which].back().end());  // equal scores go by row
      scores[which].insert(scores[which].end(), top->scores, top->scores + top->counts[0]);
    }
  CHECK(ids[0] == ids[1]);
  CHECK(scores[0] == scores[1]);
  CHECK(tt_model_set_available(b.model, gone, 1, 1) == TT_ERROR_NOT_FOUND);
  CHECK(tt_model_add_items(b.model, fresh, 1, nullptr) == TT_OK);
  CHECK(tt_model_save(b.model, "/nowhere/x.safetensors") == TT_ERROR_IO);
}

TEST_CASE("C interface: what a model cannot do is said") {
  const testing::Written w(testing::c_config("base"), /*users=*/false);
  const testing::Open c(w.path);
  const tt_results* top = nullptr;
  const tt_user known = user_of("u1"), words = user_of(nullptr);
  CHECK(tt_recommend(c.session, &known, 1, 3, nullptr, &top) == TT_ERROR_UNSUPPORTED);
  const tt_query_options options = {sizeof options, nullptr, 7, 0, 0};
  CHECK(tt_recommend(c.session, &words, 1, 3, &options, &top) == TT_ERROR_UNSUPPORTED);
  CHECK(
      std::string(tt_last_error()) ==
      "[tt_recommend] options.candidates are for a light ranker to put in order, and this model has none; leave it 0");
  CHECK(tt_recommend(c.session, &words, 1, 3, nullptr, &top) == TT_OK);
  const tt_feature twon[] = {{"twon", "x"}};
  const tt_user mistaken = {sizeof mistaken, nullptr, twon, 1, nullptr, 0, nullptr, 0};
  CHECK(tt_recommend(c.session, &mistaken, 1, 3, nullptr, &top) == TT_ERROR_NOT_FOUND);
  CHECK(std::string(tt_last_error()) == "[recommend] \"twon\" is no user feature of the model; did you mean \"town\"?");
  const tt_item item = {sizeof item, "x", twon, 1};
  CHECK(tt_model_add_items(c.model, &item, 1, nullptr) == TT_ERROR_NOT_FOUND);
  const char* const value[] = {"c"};
  const tt_condition conditions[] = {{"genre", value, 1}, {"gener", value, 1}};
  tt_filter* filter = nullptr;
  for (const tt_condition& condition : conditions) {
    const tt_filter_options by = {sizeof by, nullptr, 0, nullptr, 0, &condition, 1};
    CHECK(tt_filter_open(c.model, &by, &filter) == TT_ERROR_NOT_FOUND);
    CHECK(filter == nullptr);
  }
  const testing::Written light(testing::c_config("light"));
  const testing::Open l(light.path);
  CHECK(tt_recommend(l.session, &words, 1, 16, nullptr, &top) == TT_ERROR_ARGUMENT);
  CHECK(std::string(tt_last_error()) ==
        "[tt_recommend] k = 16 is more than the 15 candidates that the light ranker puts in order; ask for fewer, or "
        "raise options.candidates");
  const tt_query_options more = {sizeof more, nullptr, 40, 0, 0};
  CHECK(tt_recommend(l.session, &words, 1, 1000, &more, &top) == TT_OK);
  CHECK(top->counts[0] == 40);
}

TEST_CASE("C interface: the features that add an item also make its vector") {
  const testing::Written w(testing::c_config("history"));
  const testing::Open c(w.path);
  const tt_feature features[] = {{"year", "2010"}, {"genre", "b"}};  // filters alone read genres
  const tt_item words[] = {{sizeof(tt_item), nullptr, features, 1}, {sizeof(tt_item), nullptr, features, 2}};
  const tt_item item = {sizeof item, "new", features, 2}, added = {sizeof added, "new", nullptr, 0};
  std::vector<float> vectors(12);
  REQUIRE(tt_model_add_items(c.model, &item, 1, nullptr) == TT_OK);
  REQUIRE(tt_embed_items(c.session, words, 2, vectors.data(), 8) == TT_OK);
  REQUIRE(tt_embed_items(c.session, &added, 1, vectors.data() + 8, 4) == TT_OK);
  // Asked for at once, by a session that has not seen it yet.
  const tt_user user = user_of("u9");
  const tt_item second = {sizeof second, "second", features, 2};
  const char* const ids[] = {"second"};
  const tt_results* top = nullptr;
  float score = 0;
  REQUIRE(tt_recommend(c.session, &user, 1, 3, nullptr, &top) == TT_OK);
  REQUIRE(tt_model_add_items(c.model, &second, 1, nullptr) == TT_OK);
  CHECK(tt_score(c.session, &user, 1, nullptr, ids, 1, nullptr, &score) == TT_OK);
  for (size_t d = 0; d < 4; ++d) {
    CHECK(vectors[d] == vectors[4 + d]);
    CHECK(vectors[d] == vectors[8 + d]);
  }
}

TEST_CASE("C interface: threads with sessions of their own search while items come and go") {
  const testing::Written w(testing::c_config("history"));
  const testing::Open c(w.path);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0}, searches{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      tt_session* session = nullptr;
      if (tt_session_open(c.model, nullptr, &session) != TT_OK) ++wrong;
      const tt_query_options options = {sizeof options, nullptr, 0, 1, 0};
      const tt_user user = user_of("u9");
      const tt_results* top = nullptr;
      // A call sees one state of the items, however many users it asks for: the item is there for all, or for none.
      const tt_user two[] = {user, user_of("u4")};
      std::vector<const char*> others(50, "other");
      std::vector<size_t> of;
      std::vector<float> scores(others.size());
      for (size_t p = 0; p < others.size(); ++p) of.push_back(p % 2);
      while (!stop) {
        const tt_status scored =
            tt_score(session, two, 2, of.data(), others.data(), others.size(), nullptr, scores.data());
        if (scored != TT_OK && scored != TT_ERROR_NOT_FOUND) ++wrong;
        for (size_t p = 2; p < scores.size() && scored == TT_OK; ++p) wrong += scores[p] != scores[p - 2];
        // 40 items of the bundle, and the other one or not.
        if (tt_recommend(session, &user, 1, 100, &options, &top) != TT_OK) ++wrong;
        if (top->counts[0] < 40 || top->counts[0] > 41) ++wrong;
        ++searches;
      }
      tt_session_close(session);
    });
  const tt_feature features[] = {{"year", "2010"}};
  const tt_item item = {sizeof item, "other", features, 1};
  const char* const ids[] = {"other"};
  const tt_query_options all = {sizeof all, nullptr, 0, 1, 0};
  const tt_user user = user_of("u9");
  const tt_results* top = nullptr;
  for (int i = 0; i < 50 || searches < 100; ++i) {
    REQUIRE(tt_model_add_items(c.model, &item, 1, nullptr) == TT_OK);
    REQUIRE(tt_recommend(c.session, &user, 1, 100, &all, &top) == TT_OK);
    CHECK(top->counts[0] == 41);
    REQUIRE(tt_model_replace_items(c.model, &item, 1, nullptr) == TT_OK);
    REQUIRE(tt_model_remove_items(c.model, ids, 1) == TT_OK);
    REQUIRE(tt_recommend(c.session, &user, 1, 100, &all, &top) == TT_OK);
    CHECK(top->counts[0] == 40);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}
