// Once a session has seen a call, it serves such calls without allocating; and memory may run out at any place.

#include <doctest/doctest.h>

#include "tests/count_allocations.h"
#include "tests/models/retrieval/c_api/c_fixtures.h"

using namespace tt;
using testing::user_of;

TEST_CASE("C interface: a session that has warmed up allocates nothing") {
  if (!kCounts) return;
  const std::pair<std::string, std::string> tried[] = {{"base", ""},        {"history", ""}, {"kd", ""},
                                                       {"history", "fp16"}, {"kd", "int8"},  {"kd", "hnsw"}};
  for (const auto& one : tried) {
    const std::string &rung = one.first, &index = one.second;
    INFO("rung ", rung, ", index ", index);
    const bool exact = index.empty();
    const testing::Written w(testing::c_config(rung, 60, exact ? 300 : 4000));
    const testing::Open c(exact ? w.path : with_index(w, index));
    const char* const genres[] = {"b"};
    const tt_condition condition = {"genre", genres, 1};
    const tt_filter_options by = {sizeof by, nullptr, 0, nullptr, 0, &condition, 1};
    tt_filter* filter = nullptr;
    REQUIRE(tt_filter_open(c.model, &by, &filter) == TT_OK);
    const tt_query_options options = {sizeof options, filter, 0, 0, 0};
    const tt_feature features[] = {{"age", "30.5"}, {"town", "x"}}, year[] = {{"year", "2010"}};
    const char *const history[] = {"i7", "i2", "i9", "i4"}, *const exclude[] = {"i50"}, *const items[] = {"i1", "i60"};
    const tt_user users[] = {user_of("u9"), {sizeof(tt_user), nullptr, features, 2, history, 4, exclude, 1}};
    const tt_item of_items[] = {{sizeof(tt_item), "i8", nullptr, 0}, {sizeof(tt_item), nullptr, year, 1}};
    const tt_item added = {sizeof added, "new", year, 1};
    REQUIRE(tt_model_add_items(c.model, &added, 1, nullptr) == TT_OK);
    float vectors[8], scores[2];
    int failed = 0;
    const auto serve = [&] {
      const tt_results* top = nullptr;
      failed += tt_recommend(c.session, users, 2, 10, nullptr, &top) != TT_OK;
      failed += tt_recommend(c.session, users + 1, 1, 10, &options, &top) != TT_OK;
      failed += tt_embed_users(c.session, users, 2, vectors, 8) != TT_OK;
      failed += tt_search(c.session, vectors, 2, 4, 20, nullptr, &top) != TT_OK;
      failed += tt_score(c.session, users, 2, nullptr, items, 2, nullptr, scores) != TT_OK;
      failed += tt_embed_items(c.session, of_items, 2, vectors, 8) != TT_OK;
    };
    serve(), serve();
    CHECK(allocations_of(serve) == 0);
    CHECK(failed == 0);
    tt_filter_close(filter);
  }
}

TEST_CASE("C interface: memory that runs out anywhere is an error, and what was begun is undone") {
  if (!kCounts) return;
  const testing::Written w(testing::c_config("kd"));
  const testing::Open c(w.path);
  const auto items = [&] {
    tt_info info = {};
    info.struct_size = sizeof info;
    REQUIRE(tt_model_info(c.model, &info) == TT_OK);
    return std::pair(info.items, info.items_available);
  };
  // Until a call comes to an end without the allocation that fails.
  const auto everywhere = [&](const char* what, auto call, auto undo) {
    INFO(what);
    const auto before = items();
    int64_t n = 0;
    for (tt_status status = TT_ERROR_MEMORY; n < 5000; ++n) {
      const bool reached = with_failing_allocation(n, [&] { status = call(); });
      CHECK((status == TT_OK || status == TT_ERROR_MEMORY));
      if (status == TT_OK) undo();
      CHECK(items() == before);
      if (!reached) break;
    }
    CHECK(n < 5000);
  };
  const tt_feature year[] = {{"year", "2010"}, {"genre", "a"}};
  const tt_item added[] = {{sizeof(tt_item), "n1", year, 2}, {sizeof(tt_item), "n2", year, 2}};
  const tt_item replaced = {sizeof replaced, "i3", year, 2};
  const char *const ids[] = {"n1", "n2"}, *const genres[] = {"b"};
  const auto add = [&] { return tt_model_add_items(c.model, added, 2, nullptr); };
  const auto remove = [&] { return tt_model_remove_items(c.model, ids, 2); };
  everywhere("add", add, remove);
  everywhere(
      "replace", [&] { return tt_model_replace_items(c.model, &replaced, 1, nullptr); }, [] {});
  REQUIRE(add() == TT_OK);
  everywhere("remove", remove, add);
  everywhere(
      "available", [&] { return tt_model_set_available(c.model, ids, 2, 0); },
      [&] { tt_model_set_available(c.model, ids, 2, 1); });
  const tt_condition condition = {"genre", genres, 1};
  const tt_filter_options by = {sizeof by, ids, 2, ids, 1, &condition, 1};
  tt_filter* filter = nullptr;
  everywhere(
      "filter", [&] { return tt_filter_open(c.model, &by, &filter); },
      [&] { tt_filter_close(filter), filter = nullptr; });
  CHECK(filter == nullptr);
  const tt_user user = user_of("u1");
  const tt_results* top = nullptr;
  REQUIRE(tt_recommend(c.session, &user, 1, 5, nullptr, &top) == TT_OK);
  const std::vector<std::string> right = testing::ids_of(top);
  tt_session* session = nullptr;
  everywhere(
      "session",
      [&] {
        tt_status status = tt_session_open(c.model, nullptr, &session);
        if (status != TT_OK) return status;
        status = tt_recommend(session, &user, 1, 5, nullptr, &top);
        if (status != TT_OK) tt_session_close(session);
        return status;
      },
      [&] {
        CHECK(testing::ids_of(top) == right);
        tt_session_close(session);
      });
}
