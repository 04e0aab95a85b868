// What callers do that is odd, or that goes wrong between two calls of the C interface.

#include <doctest/doctest.h>

#include <atomic>
#include <locale>
#include <thread>

#include "tests/models/retrieval/c_api/c_fixtures.h"

using namespace tt;
using testing::ids_of;
using testing::user_of;

namespace {

tt_item item_of(const char* id, const tt_feature* features = nullptr, size_t count = 0) {
  return {sizeof(tt_item), id, features, count};
}

void refused(tt_status status, tt_status wanted, const std::string& text) {
  CHECK(status == wanted);
  CHECK(std::string(tt_last_error()) == text);
}

}  // namespace

TEST_CASE("misuse: items that came or changed after the session's last call are scored") {
  for (const char* rung : {"history", "kd"}) {
    INFO("rung ", rung);
    const testing::Written w(testing::c_config(rung));
    const testing::Open c(w.path), fresh(w.path);
    const tt_user user = user_of("u1");
    const tt_results* top = nullptr;
    REQUIRE(tt_recommend(c.session, &user, 1, 3, nullptr, &top) == TT_OK);
    const tt_feature year[] = {{"year", "2001"}};
    const tt_item item = item_of("new", year, 1), old = item_of("i3", year, 1);
    for (tt_model* model : {c.model, fresh.model}) {
      REQUIRE(tt_model_add_items(model, &item, 1, nullptr) == TT_OK);
      REQUIRE(tt_model_replace_items(model, &old, 1, nullptr) == TT_OK);
    }
    const char* const ids[] = {"new", "i3", "i4"};
    float scores[3] = {}, right[3] = {};
    CHECK_MESSAGE(tt_score(c.session, &user, 1, nullptr, ids, 3, nullptr, scores) == TT_OK, tt_last_error());
    REQUIRE(tt_score(fresh.session, &user, 1, nullptr, ids, 3, nullptr, right) == TT_OK);
    for (int i = 0; i < 3; ++i) CHECK(scores[i] == right[i]);
  }
}

TEST_CASE("misuse: a call sees one state of the items while they change") {
  const testing::Written w(testing::c_config("kd"));
  const testing::Open c(w.path);
  std::atomic<bool> stop{false};
  std::atomic<int> running{0}, failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      tt_session* session = nullptr;
      failed += tt_session_open(c.model, nullptr, &session) != TT_OK;
      const tt_user user = user_of("u1");
      const char* const ids[] = {"i3", "i5", "i3"};
      float scores[3];
      for (++running; !stop;)
        failed += tt_score(session, &user, 1, nullptr, ids, 3, nullptr, scores) != TT_OK || scores[0] != scores[2];
      failed += tt_session_close(session) != TT_OK;
    });
  while (running < 2) std::this_thread::yield();
  for (int i = 0; i < 3000; ++i) {
    const tt_feature year[] = {{"year", i % 2 == 0 ? "1990" : "2010"}};
    const tt_item item = item_of("i3", year, 1);
    failed += tt_model_replace_items(c.model, &item, 1, nullptr) != TT_OK;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
}

TEST_CASE("misuse: features that are given twice") {
  const testing::Written w(testing::c_config("history"));
  const testing::Open c(w.path);
  tt_info info = {};
  info.struct_size = sizeof info;
  const tt_feature town[] = {{"town", "x"}, {"age", "30"}, {"town", "y"}}, genre[] = {{"genre", "a"}, {"genre", "b"}};
  const tt_user user = {sizeof user, nullptr, town, 3, nullptr, 0, nullptr, 0};
  const tt_results* top = nullptr;
  const std::string twice = "\" is given twice; give each once, several values of one joined by '|'";
  refused(tt_recommend(c.session, &user, 1, 3, nullptr, &top), TT_ERROR_ARGUMENT,
          "[tt_recommend] the feature \"town" + twice);
  const tt_item item = item_of("new", genre, 2);
  refused(tt_model_add_items(c.model, &item, 1, nullptr), TT_ERROR_ARGUMENT,
          "[catalog] the feature \"genre\" of item \"new\" is given twice; give each once");
  const tt_feature year[] = {{"year", "1990"}, {"year", "1990"}};
  const tt_item words = item_of(nullptr, year, 2);
  float vector[4];
  refused(tt_embed_items(c.session, &words, 1, vector, 4), TT_ERROR_ARGUMENT,
          "[tt_embed_items] the feature \"year" + twice);
  REQUIRE(tt_model_info(c.model, &info) == TT_OK);
  CHECK(info.items == 40);
  CHECK(info.items_available == 40);
  // Ever so many names that the model does not have are found out at the first.
  const std::vector<tt_feature> many(1000000, tt_feature{"town", "x"});
  const tt_user endless = {sizeof endless, nullptr, many.data(), many.size(), nullptr, 0, nullptr, 0};
  CHECK(tt_recommend(c.session, &endless, 1, 3, nullptr, &top) == TT_ERROR_ARGUMENT);
}

TEST_CASE("misuse: every text is one line, and a long one says what is wrong at its end") {
  const testing::Written w(testing::c_config("history"));
  std::vector<std::string> told;
  const tt_log_function log = [](void* data, int32_t, const char* text) {
    static_cast<std::vector<std::string>*>(data)->push_back(text);
  };
  const tt_open_options options = {sizeof options, 0, 0, log, &told};
  tt_model* model = nullptr;
  REQUIRE(tt_model_open(w.path.c_str(), &options, &model) == TT_OK);
  REQUIRE(tt_model_save(model, (w.folder.path() + "/two\nlines").c_str()) == TT_OK);
  REQUIRE(told.size() == 2);
  CHECK(told[1] == "[bundle " + w.folder.path() + "/two\\nlines] is written: 40 items");
  refused(tt_model_save(model, ""), TT_ERROR_IO, "[file] the name of the file to write is empty; give one");
  const std::string id(10000, 'x');
  const char* const ids[] = {id.c_str()};
  CHECK(tt_model_remove_items(model, ids, 1) == TT_ERROR_NOT_FOUND);
  const std::string text = tt_last_error();
  CHECK(text.size() < 1024);
  CHECK(text.starts_with("[catalog] there is no item \"xxx"));
  CHECK(text.ends_with("xxx\" to remove; it may be gone already"));
  tt_model_close(model);
}

TEST_CASE("misuse: a host whose locale writes numbers in another way") {
  struct Grouped : std::numpunct<char> {
    char do_thousands_sep() const override { return '.'; }
    char do_decimal_point() const override { return ','; }
    std::string do_grouping() const override { return "\3"; }
  };
  const testing::Written w(testing::c_config("history"));
  const testing::Open c(w.path);
  const std::locale before = std::locale::global(std::locale(std::locale(), new Grouped));
  const tt_session_options options = {sizeof options, 123456, 0};
  tt_session* session = nullptr;
  const tt_status status = tt_session_open(c.model, &options, &session);
  std::locale::global(before);
  refused(status, TT_ERROR_ARGUMENT, "[tt_session_open] options.threads is 123456; give 1 to 1024");
}
