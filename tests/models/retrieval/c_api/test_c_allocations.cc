// Once a session has seen a call, it serves such calls without allocating.

#include <doctest/doctest.h>

#include "tests/count_allocations.h"
#include "tests/models/retrieval/c_api/c_fixtures.h"

using namespace tt;
using testing::user_of;

TEST_CASE("C interface: a session that has warmed up allocates nothing") {
  if (!kCounts) return;
  for (const char* rung : {"base", "history", "kd"}) {
    INFO("rung ", rung);
    const testing::Written w(testing::c_config(rung, 60, 300));
    const testing::Open c(w.path);
    const char* const genres[] = {"b"};
    const tt_condition condition = {"genre", genres, 1};
    const tt_filter_options by = {sizeof by, nullptr, 0, nullptr, 0, &condition, 1};
    tt_filter* filter = nullptr;
    REQUIRE(tt_filter_open(c.model, &by, &filter) == TT_OK);
    const tt_options options = {sizeof options, filter, 0, 0, 0};
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
