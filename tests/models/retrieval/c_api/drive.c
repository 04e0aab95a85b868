/* The whole C interface in C99, with its header alone: each call does what the header says of it. Each check that fails
 * is printed; the number of those is returned. */

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <twotower/twotower.h>

static int failures;

static void check(int holds, const char* what, int line) {
  if (holds) return;
  ++failures;
  printf("drive.c:%d: %s\n  last error: %s\n", line, what, tt_last_error());
}
#define CHECK(x) check((x) != 0, #x, __LINE__)

static int logged;
static void log_line(void* data, int32_t level, const char* text) {
  CHECK(data == &logged);
  CHECK(level >= TT_LOG_INFO && level <= TT_LOG_ERROR);
  CHECK(text[0] == '[' && strchr(text, '\n') == NULL);
  ++logged;
}

static int has(const tt_results* top, size_t query, const char* id) {
  for (size_t r = 0; r < top->counts[query]; ++r)
    if (strcmp(top->ids[query * top->k + r], id) == 0) return 1;
  return 0;
}

static void check_results(const tt_results* top, size_t queries) {
  CHECK(top->queries == queries);
  for (size_t q = 0; q < queries; ++q) {
    CHECK(top->counts[q] <= top->k);
    for (size_t r = 0; r < top->k; ++r) {
      const size_t at = q * top->k + r;
      if (r >= top->counts[q]) {
        CHECK(top->ids[at] == NULL && top->titles[at] == NULL && isinf(top->scores[at]) && top->scores[at] < 0);
      } else {
        CHECK(top->ids[at][0] == 'i' && top->titles[at] != NULL);
        CHECK(r == 0 || top->scores[at] <= top->scores[at - 1]);
      }
    }
  }
}

static void ask(tt_model* model, tt_session* session) {
  const tt_feature features[] = {{"age", "45"}, {"town", "y"}, {"zip", "9"}};
  const char* const history[] = {"i7", "i2", "nothing"};
  const char* const exclude[] = {"i3"};
  tt_user users[2];
  memset(users, 0, sizeof users);
  users[0].struct_size = users[1].struct_size = sizeof users[0];
  users[0].id = "u3";
  users[1].features = features, users[1].num_features = 3;
  users[1].history = history, users[1].num_history = 3;
  users[1].exclude = exclude, users[1].num_exclude = 1;

  const tt_results* top = NULL;
  CHECK(tt_recommend(session, users, 2, 5, NULL, &top) == TT_OK);
  check_results(top, 2);
  CHECK(top->k == 5 && top->counts[0] == 5 && top->counts[1] == 5);
  CHECK(top->unknown_items == 1);
  CHECK(!has(top, 1, "i7") && !has(top, 1, "i2") && !has(top, 1, "i3"));
  char best[64];
  strcpy(best, top->ids[5]);
  const float score = top->scores[5];

  /* The score of the best is what it came with, and a search with the user's vector finds it, too. */
  float scores[2];
  const char* items[2];
  const size_t user_of[] = {1, 1};
  items[0] = best, items[1] = "i3";
  CHECK(tt_score(session, users, 2, user_of, items, 2, NULL, scores) == TT_OK);
  CHECK(fabsf(scores[0] - score) < 1e-5f);
  CHECK(tt_score(session, users, 2, NULL, items, 2, NULL, scores) == TT_OK);
  tt_info info = {.struct_size = sizeof info};
  CHECK(tt_model_info(model, &info) == TT_OK);
  CHECK(info.items >= 39 && info.users == 12 && info.dimension == 4);
  float vectors[8];
  CHECK(tt_embed_users(session, users, 2, vectors, 8) == TT_OK);
  CHECK(tt_embed_users(session, users, 2, vectors, 7) == TT_ERROR_ARGUMENT);
  tt_query_options options = {.struct_size = sizeof options, .include_seen = 1, .no_rerank = 1};
  CHECK(tt_recommend(session, users, 1, 1, &options, &top) == TT_OK);
  strcpy(best, top->ids[0]);
  CHECK(tt_search(session, vectors, 1, info.dimension, 3, NULL, &top) == TT_OK);
  check_results(top, 1);
  CHECK(strcmp(top->ids[0], best) == 0);

  tt_item item = {.struct_size = sizeof item, .id = best};
  float vector[4];
  CHECK(tt_embed_items(session, &item, 1, vector, 4) == TT_OK);
  float product = 0;
  for (int i = 0; i < 4; ++i) product += vector[i] * vectors[i];
  CHECK(fabsf(product - top->scores[0]) < 1e-5f);
}

static void filter(tt_model* model, tt_session* session) {
  const char* const genres[] = {"b"};
  const char* const excluded[] = {"i1"};
  const tt_condition condition = {"genre", genres, 1};
  const tt_filter_options filter_options = {.struct_size = sizeof filter_options,
                                            .excluded = excluded,
                                            .num_excluded = 1,
                                            .conditions = &condition,
                                            .num_conditions = 1};
  tt_filter* odd = NULL;
  CHECK(tt_filter_open(model, &filter_options, &odd) == TT_OK);
  const tt_query_options options = {.struct_size = sizeof options, .filter = odd, .include_seen = 1, .no_rerank = 1};
  const tt_user user = {.struct_size = sizeof user};
  const tt_results* top = NULL;
  CHECK(tt_recommend(session, &user, 1, 1000, &options, &top) == TT_OK);
  check_results(top, 1);
  CHECK(has(top, 0, "i3") && !has(top, 0, "i1") && !has(top, 0, "i2"));
  const char* const allowed[] = {"i2", "i4", "nothing"};
  const tt_filter_options some = {.struct_size = sizeof some, .allowed = allowed, .num_allowed = 3};
  tt_filter* two = NULL;
  CHECK(tt_filter_open(model, &some, &two) == TT_OK);
  const tt_query_options of_two = {.struct_size = sizeof of_two, .filter = two, .include_seen = 1, .no_rerank = 1};
  CHECK(tt_recommend(session, &user, 1, 1000, &of_two, &top) == TT_OK);
  CHECK(top->counts[0] == 2 && has(top, 0, "i2") && has(top, 0, "i4"));
  CHECK(tt_filter_close(two) == TT_OK);
  CHECK(tt_filter_close(two) == TT_ERROR_HANDLE);
  CHECK(tt_recommend(session, &user, 1, 10, &of_two, &top) == TT_ERROR_HANDLE);
  CHECK(tt_filter_close(odd) == TT_OK);
}

static void change(tt_model* model, tt_session* session) {
  const tt_feature features[] = {{"year", "2020"}, {"genre", "b"}};
  tt_item item = {.struct_size = sizeof item, .id = "inew", .features = features, .num_features = 2};
  const char* const fresh[] = {"inew"};
  const tt_user user = {.struct_size = sizeof user};
  const tt_query_options all = {.struct_size = sizeof all, .include_seen = 1, .no_rerank = 1};
  const tt_results* top = NULL;
  size_t unknown = 7;
  CHECK(tt_model_add_items(model, &item, 1, &unknown) == TT_OK);
  CHECK(unknown == 0);
  CHECK(tt_model_add_items(model, &item, 1, NULL) == TT_ERROR_EXISTS);
  CHECK(tt_recommend(session, &user, 1, 1000, &all, &top) == TT_OK);
  check_results(top, 1);
  CHECK(has(top, 0, "inew"));

  /* What the features make, whether the item is there or not. */
  tt_item words = item;
  words.id = NULL, words.num_features = 1;
  tt_item there = {.struct_size = sizeof there, .id = "inew"};
  float a[4], b[4];
  CHECK(tt_embed_items(session, &words, 1, a, 4) == TT_OK);
  CHECK(tt_embed_items(session, &there, 1, b, 4) == TT_OK);
  CHECK(memcmp(a, b, sizeof a) == 0);

  CHECK(tt_model_set_available(model, fresh, 1, 0) == TT_OK);
  CHECK(tt_recommend(session, &user, 1, 1000, &all, &top) == TT_OK);
  CHECK(!has(top, 0, "inew"));
  CHECK(tt_model_set_available(model, fresh, 1, 1) == TT_OK);
  item.num_features = 0;
  CHECK(tt_model_replace_items(model, &item, 1, NULL) == TT_OK);
  CHECK(tt_embed_items(session, &there, 1, b, 4) == TT_OK);
  CHECK(memcmp(a, b, sizeof a) != 0);
  CHECK(tt_model_remove_items(model, fresh, 1) == TT_OK);
  CHECK(tt_model_remove_items(model, fresh, 1) == TT_ERROR_NOT_FOUND);
  CHECK(tt_model_replace_items(model, &item, 1, NULL) == TT_ERROR_NOT_FOUND);
  CHECK(tt_recommend(session, &user, 1, 1000, &all, &top) == TT_OK);
  CHECK(!has(top, 0, "inew"));
}

static void drive_model(tt_model* model) {
  CHECK(strcmp(tt_model_user_feature(model, 0), "age") == 0);
  CHECK(tt_model_user_feature(model, 3) == NULL);
  CHECK(strcmp(tt_model_item_feature(model, 1), "old") == 0);
  CHECK(strcmp(tt_model_filter_column(model, 0), "genre") == 0);
  tt_session* session = NULL;
  const tt_session_options two = {.struct_size = sizeof two, .threads = 2};
  CHECK(tt_session_open(model, &two, &session) == TT_OK);
  CHECK(tt_session_error(session)[0] == 0);
  ask(model, session);
  filter(model, session);
  change(model, session);
  const tt_user nobody = {.struct_size = sizeof nobody, .id = "nobody"};
  const tt_results* top = NULL;
  CHECK(tt_recommend(session, &nobody, 1, 5, NULL, &top) == TT_ERROR_NOT_FOUND);
  CHECK(top == NULL);
  CHECK(strncmp(tt_session_error(session), "[tt_recommend] there is no user \"nobody\"", 40) == 0);
  CHECK(strcmp(tt_session_error(session), tt_last_error()) == 0);
  /* The model lives on until the session is closed. */
  CHECK(tt_model_close(model) == TT_OK);
  CHECK(tt_model_close(model) == TT_ERROR_HANDLE);
  const tt_user somebody = {.struct_size = sizeof somebody, .id = "u1"};
  CHECK(tt_recommend(session, &somebody, 1, 5, NULL, &top) == TT_OK);
  CHECK(tt_session_close(session) == TT_OK);
  CHECK(tt_session_close(session) == TT_ERROR_HANDLE);
  CHECK(tt_recommend(session, &somebody, 1, 5, NULL, &top) == TT_ERROR_HANDLE);
}

/* bytes: the file at path. saved: where a bundle may be written. */
int drive(const char* path, const void* bytes, size_t size, const char* saved) {
  failures = logged = 0;
  CHECK(tt_version_number() == TT_VERSION_NUMBER);
  CHECK(strcmp(tt_version_string(), "0.1.0") == 0);
  CHECK(strcmp(tt_status_name(TT_ERROR_IO), "TT_ERROR_IO") == 0);
  CHECK(strcmp(tt_status_name(99), "TT_ERROR_UNKNOWN") == 0);
  tt_model* model = NULL;
  tt_open_options options = {.struct_size = sizeof options, .verify = 1, .log = log_line, .log_data = &logged};
  CHECK(tt_model_open(path, &options, &model) == TT_OK);
  CHECK(logged == 1);
  const char* const gone[] = {"i5"};
  CHECK(tt_model_remove_items(model, gone, 1) == TT_OK);
  CHECK(tt_model_save(model, saved) == TT_OK);
  CHECK(logged == 3);
  drive_model(model);

  CHECK(tt_model_open_memory(bytes, size, NULL, &model) == TT_OK);
  drive_model(model);
  options.copy = 1;
  CHECK(tt_model_open_memory(bytes, size, &options, &model) == TT_OK);
  drive_model(model);

  CHECK(tt_model_open(saved, &options, &model) == TT_OK);
  tt_info info = {.struct_size = sizeof info};
  CHECK(tt_model_info(model, &info) == TT_OK);
  CHECK(info.items == 39);
  CHECK(tt_model_remove_items(model, gone, 1) == TT_ERROR_NOT_FOUND);
  CHECK(tt_model_close(model) == TT_OK);

  CHECK(tt_model_open("/nowhere/b.safetensors", NULL, &model) == TT_ERROR_IO);
  CHECK(model == NULL);
  CHECK(strcmp(tt_last_error(),
               "[bundle /nowhere/b.safetensors] cannot be opened: No such file or directory; check the "
               "path") == 0);
  CHECK(tt_model_close(NULL) == TT_OK && tt_session_close(NULL) == TT_OK && tt_filter_close(NULL) == TT_OK);
  return failures;
}
