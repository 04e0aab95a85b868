// Whatever a caller passes, the C interface answers with a code and a text, or rightly, and never crashes. Run it with
// -Db_sanitize=address,undefined, too.

#include <doctest/doctest.h>
#include <twotower/tensor/files/safetensors.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/models/retrieval/c_api/c_fixtures.h"

using namespace tt;
using testing::ids_of;
using testing::user_of;

namespace {

constexpr size_t kHuge = size_t{1} << 63;

// A small bundle as bytes.
std::string small_bundle(const std::string& rung) {
  const testing::Written w(testing::c_config(rung, 5, 6));
  return read_whole_file(w.path);
}

// Where in the bytes of a bundle's file a tensor's begin.
size_t place_of(const std::string& path, const std::string& tensor) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  uint64_t header = 0;
  std::memcpy(&header, read_whole_file(path).data(), 8);
  return 8 + static_cast<size_t>(header) +
         static_cast<size_t>(file.entry(tensor).data - file.entry(file.names()[0]).data);
}

// The answers that a bundle gives; or why it gives none, never without a text.
struct Outcome {
  tt_status status = TT_OK;
  std::string text;
  std::vector<std::string> ids;
  std::vector<float> scores;
};

void keep_failure(Outcome& out, tt_status status) {
  if (status == TT_OK || out.status != TT_OK) return;
  out.status = status, out.text = tt_last_error();
}

Outcome outcome_of(const void* bytes, size_t size, int32_t verify) {
  Outcome out;
  tt_open_options options = {};
  options.struct_size = sizeof options, options.verify = verify;
  tt_model* model = nullptr;
  tt_session* session = nullptr;
  keep_failure(out, tt_model_open_memory(bytes, size, &options, &model));
  if (!model) return out;
  keep_failure(out, tt_session_open(model, nullptr, &session));
  const tt_feature features[] = {{"age", "45"}, {"town", "y"}};
  const char *const history[] = {"i1", "i2"}, *const genres[] = {"b"}, *const items[] = {"i3", "i5"};
  const tt_user users[] = {user_of("u3"), {sizeof(tt_user), nullptr, features, 2, history, 2, nullptr, 0}};
  const tt_condition condition = {"genre", genres, 1};
  const tt_filter_options by = {sizeof by, nullptr, 0, nullptr, 0, &condition, 1};
  tt_filter* filter = nullptr;
  keep_failure(out, tt_filter_open(model, &by, &filter));
  tt_query_options asked = {};
  asked.struct_size = sizeof asked;
  for (tt_filter* f : {static_cast<tt_filter*>(nullptr), filter}) {
    const tt_results* top = nullptr;
    asked.filter = f;
    const tt_status status = tt_recommend(session, users, 2, 3, &asked, &top);
    keep_failure(out, status);
    if (status != TT_OK) continue;
    for (size_t q = 0; q < 2; ++q) {
      const auto ids = ids_of(top, q);
      out.ids.insert(out.ids.end(), ids.begin(), ids.end());
      out.scores.insert(out.scores.end(), top->scores + q * top->k, top->scores + q * top->k + top->counts[q]);
    }
  }
  float scores[2];
  const tt_status status = tt_score(session, users, 2, nullptr, items, 2, nullptr, scores);
  keep_failure(out, status);
  if (status == TT_OK) out.scores.insert(out.scores.end(), scores, scores + 2);
  const tt_item item = {sizeof item, "new", nullptr, 0};
  keep_failure(out, tt_model_add_items(model, &item, 1, nullptr));
  keep_failure(out, tt_model_remove_items(model, items, 1));
  tt_filter_close(filter), tt_session_close(session), tt_model_close(model);
  return out;
}

}  // namespace

TEST_CASE("hostile: every byte of a small bundle changed, and every truncation") {
  {
    const std::string bytes = small_bundle("kd");
    const Outcome right = outcome_of(bytes.data(), bytes.size(), 1);
    REQUIRE_MESSAGE(right.status == TT_OK, right.text);
    int64_t refused = 0, wrong = 0, silent = 0;
    // One byte of room and no more, so that a sanitizer sees what is read beyond the end.
    std::vector<char> copy(bytes.begin(), bytes.end());
    for (size_t at = 0; at < bytes.size(); ++at) {
      const char flips[] = {static_cast<char>(1 << (at % 8)), static_cast<char>(0x80), static_cast<char>(0xff)};
      const char flip = flips[at % 3];
      copy[at] = static_cast<char>(copy[at] ^ flip);
      for (const int32_t verify : {1, 0}) {
        const Outcome out = outcome_of(copy.data(), copy.size(), verify);
        if (out.status != TT_OK) {
          ++refused;
          silent += out.text.empty() || out.text[0] != '[' || out.text.find('\n') != std::string::npos;
        } else if (verify == 1) {
          wrong += out.ids != right.ids || out.scores != right.scores;
        }
      }
      copy[at] = bytes[at];
    }
    CHECK(refused > 0);
    CHECK(silent == 0);
    CHECK(wrong == 0);
    for (size_t size = 0; size < bytes.size(); ++size) {
      const std::vector<char> part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      char none = 0;
      const Outcome out = outcome_of(size == 0 ? &none : part.data(), size, 0);
      if (out.status != TT_ERROR_CORRUPT || out.text.empty()) FAIL_CHECK("truncation to ", size, ": ", out.status);
    }
  }
}

TEST_CASE("hostile: damage that filters and changes of items come across is damage, and not the caller's mistake") {
  const testing::Written w(testing::c_config("history"));
  const std::string whole = read_whole_file(w.path);
  const char *const genres[] = {"b"}, *const first[] = {"i1"};
  const tt_condition condition = {"genre", genres, 1};
  const tt_filter_options by = {sizeof by, nullptr, 0, nullptr, 0, &condition, 1};
  const tt_item item = {sizeof item, "i1", nullptr, 0};
  struct Damage {
    const char *tensor, *text;
    size_t byte;
    tt_status filter, replace, remove;
  };
  const tt_status ok = TT_OK, corrupt = TT_ERROR_CORRUPT;
  const Damage all[] = {
      {"items.category.genre.offsets",
       "[bundle] the offsets of column \"genre\" are damaged; make the bundle anew with `twotower pack`", 15, corrupt,
       corrupt, ok},
      {"items.category.genre.text_order",
       "[ids] the order holds row 2130706432, there are 3; the file is damaged, make it again", 7, corrupt, ok, ok},
      {"items.id_order", "[ids] the order holds row ", 83, ok, corrupt, corrupt}};
  for (const Damage& damage : all) {
    INFO(damage.tensor);
    std::string bytes = whole;
    bytes[place_of(w.path, damage.tensor) + damage.byte] = 0x7f;
    tt_model* model = nullptr;
    tt_filter* filter = nullptr;
    REQUIRE(tt_model_open_memory(bytes.data(), bytes.size(), nullptr, &model) == TT_OK);
    const auto gives = [&](tt_status status, tt_status wanted) {
      CHECK(status == wanted);
      if (status != TT_OK) CHECK(std::string(tt_last_error()).find(damage.text) == 0);
    };
    gives(tt_filter_open(model, &by, &filter), damage.filter);
    gives(tt_model_replace_items(model, &item, 1, nullptr), damage.replace);
    gives(tt_model_remove_items(model, first, 1), damage.remove);
    tt_filter_close(filter), tt_model_close(model);
  }
}

TEST_CASE("hostile: null pointers and wrong sizes") {
  const testing::Written w(testing::c_config("history"));
  const testing::Open c(w.path);
  const tt_results* top = nullptr;
  const tt_user user = user_of("u1");
  const char *const ids[] = {"i1"}, *const nulls[] = {nullptr};
  float floats[8] = {};
  tt_model* model = nullptr;
  tt_session* session = nullptr;
  tt_filter* filter = nullptr;
  const auto refused = [](tt_status status, tt_status wanted, const char* text) {
    CHECK(status == wanted);
    CHECK(std::string(tt_last_error()) == text);
  };
  const tt_status argument = TT_ERROR_ARGUMENT;
  refused(tt_model_open(nullptr, nullptr, &model), argument, "[tt_model_open] path is NULL");
  refused(tt_model_open("x", nullptr, nullptr), argument, "[tt_model_open] out is NULL");
  refused(tt_model_open_memory(nullptr, 9, nullptr, &model), argument, "[tt_model_open_memory] data is NULL");
  refused(tt_model_info(c.model, nullptr), argument, "[tt_model_info] out is NULL");
  refused(tt_session_open(c.model, nullptr, nullptr), argument, "[tt_session_open] out is NULL");
  refused(tt_filter_open(c.model, nullptr, nullptr), argument, "[tt_filter_open] out is NULL");
  refused(tt_recommend(c.session, nullptr, 1, 3, nullptr, &top), argument, "[tt_recommend] users is NULL");
  refused(tt_recommend(c.session, &user, 1, 3, nullptr, nullptr), argument, "[tt_recommend] out is NULL");
  refused(tt_search(c.session, nullptr, 1, 4, 3, nullptr, &top), argument, "[tt_search] queries is NULL");
  refused(tt_score(c.session, &user, 1, nullptr, nullptr, 1, nullptr, floats), argument, "[tt_score] items is NULL");
  refused(tt_score(c.session, &user, 1, nullptr, nulls, 1, nullptr, floats), argument, "[tt_score] items[0] is NULL");
  refused(tt_score(c.session, &user, 1, nullptr, ids, 1, nullptr, nullptr), argument, "[tt_score] scores is NULL");
  refused(tt_embed_users(c.session, &user, 1, nullptr, 8), argument, "[tt_embed_users] vectors is NULL");
  refused(tt_embed_users(c.session, &user, 1, floats, 3), argument,
          "[tt_embed_users] vectors_size is 3 floats, 1 vectors of 4 take 4");
  refused(tt_embed_items(c.session, nullptr, 1, floats, 8), argument, "[tt_embed_items] items is NULL");
  refused(tt_model_add_items(c.model, nullptr, 1, nullptr), argument, "[tt_model_add_items] items is NULL");
  refused(tt_model_remove_items(c.model, nulls, 1), argument, "[tt_model_remove_items] ids[0] is NULL");
  refused(tt_model_set_available(c.model, ids, 1, 2), argument, "[tt_model_set_available] available is 2; give 0 or 1");
  refused(tt_model_save(c.model, nullptr), argument, "[tt_model_save] path is NULL");
  refused(tt_recommend(c.session, &user, kHuge, 3, nullptr, &top), argument,
          "[tt_recommend] there are 9223372036854775808 users, more than the 2147483647 that a call takes");
  const tt_user features = {sizeof features, nullptr, nullptr, 2, nullptr, 0, nullptr, 0};
  refused(tt_recommend(c.session, &features, 1, 3, nullptr, &top), argument, "[tt_recommend] users[].features is NULL");
  const tt_user both = {sizeof both, "u1", nullptr, 0, ids, 1, nullptr, 0};
  refused(tt_recommend(c.session, &both, 1, 3, nullptr, &top), argument,
          "[tt_recommend] the user \"u1\" has an id and also features or a history; give the id of a user whom the "
          "bundle knows, or leave it NULL");
  CHECK(top == nullptr);
  CHECK((model == nullptr && session == nullptr && filter == nullptr));

  // struct_size.
  tt_user mistaken[] = {user_of("u1"), user_of("u2")};
  mistaken[0].struct_size = 0;
  refused(tt_recommend(c.session, mistaken, 1, 3, nullptr, &top), argument,
          "[tt_recommend] users: struct_size is 0, which is no version's; set it to the struct's sizeof (64 in this "
          "version)");
  mistaken[0].struct_size = sizeof(tt_user), mistaken[1].struct_size = 7;
  refused(tt_recommend(c.session, mistaken, 2, 3, nullptr, &top), argument,
          "[tt_recommend] users[1].struct_size is 7, that of users[0] is 64; they must be the same");
  struct {
    tt_query_options known;
    size_t later;
  } later = {{sizeof later, nullptr, 0, 0, 0}, 0};
  CHECK(tt_recommend(c.session, &user, 1, 3, &later.known, &top) == TT_OK);
  later.later = 1;
  refused(tt_recommend(c.session, &user, 1, 3, &later.known, &top), argument,
          "[tt_recommend] options: a field of a later version is set; this library is 0.1.0, use a later one or leave "
          "the field 0");
  const tt_session_options threads[] = {{sizeof threads[0], -1, 0}, {sizeof threads[0], 1 << 30, 0}};
  for (const tt_session_options& options : threads) CHECK(tt_session_open(c.model, &options, &session) == argument);

  // Nothing at all is asked for.
  CHECK(tt_recommend(c.session, nullptr, 0, 3, nullptr, &top) == TT_OK);
  CHECK(top->queries == 0);
  CHECK(tt_embed_users(c.session, nullptr, 0, nullptr, 0) == TT_OK);
  CHECK(tt_embed_items(c.session, nullptr, 0, nullptr, 0) == TT_OK);
  CHECK(tt_score(c.session, nullptr, 0, nullptr, nullptr, 0, nullptr, nullptr) == TT_OK);
  CHECK(tt_search(c.session, nullptr, 0, 4, 3, nullptr, &top) == TT_OK);
  CHECK(tt_model_remove_items(c.model, nullptr, 0) == TT_OK);
  CHECK(tt_model_add_items(c.model, nullptr, 0, nullptr) == TT_OK);
}

TEST_CASE("hostile: handles that are closed, of another kind, of another model, or none") {
  const testing::Written w(testing::c_config("history"));
  const testing::Open c(w.path), d(w.path);
  const tt_results* top = nullptr;
  const tt_user user = user_of("u1");
  int64_t foreign[16] = {};
  tt_info info = {};
  info.struct_size = sizeof info;
  const auto bad = [&](const void* pointer) {
    auto* session = static_cast<tt_session*>(const_cast<void*>(pointer));
    auto* model = static_cast<tt_model*>(const_cast<void*>(pointer));
    CHECK(tt_recommend(session, &user, 1, 3, nullptr, &top) == TT_ERROR_HANDLE);
    CHECK(tt_model_info(model, &info) == TT_ERROR_HANDLE);
    CHECK(tt_model_save(model, "x") == TT_ERROR_HANDLE);
    CHECK(tt_model_user_feature(model, 0) == nullptr);
    CHECK(std::string(tt_session_error(session)) == "[tt_session_error] the session is closed, or is none");
    if (!pointer) return;
    CHECK(tt_session_close(session) == TT_ERROR_HANDLE);
    CHECK(tt_model_close(model) == TT_ERROR_HANDLE);
    CHECK(tt_filter_close(static_cast<tt_filter*>(const_cast<void*>(pointer))) == TT_ERROR_HANDLE);
  };
  bad(nullptr);
  bad(foreign);
  bad(reinterpret_cast<const void*>(uintptr_t{1}));
  bad(reinterpret_cast<const void*>(~uintptr_t{0}));
  tt_session* session = nullptr;
  REQUIRE(tt_session_open(c.model, nullptr, &session) == TT_OK);
  CHECK(tt_session_close(session) == TT_OK);
  bad(session);
  tt_session* next = nullptr;
  REQUIRE(tt_session_open(c.model, nullptr, &next) == TT_OK);
  CHECK(next != session);  // the same place, another handle
  bad(session);
  CHECK(tt_session_close(next) == TT_OK);
  CHECK(tt_recommend(reinterpret_cast<tt_session*>(c.model), &user, 1, 3, nullptr, &top) == TT_ERROR_HANDLE);
  CHECK(tt_model_info(reinterpret_cast<tt_model*>(c.session), &info) == TT_ERROR_HANDLE);

  std::vector<tt_session*> many(5000, nullptr);
  for (tt_session*& one : many) REQUIRE(tt_session_open(c.model, nullptr, &one) == TT_OK);
  CHECK(tt_recommend(many.back(), &user, 1, 3, nullptr, &top) == TT_OK);
  for (tt_session* one : many) REQUIRE(tt_session_close(one) == TT_OK);
  bad(many.back());

  tt_filter* filter = nullptr;
  REQUIRE(tt_filter_open(d.model, nullptr, &filter) == TT_OK);
  const tt_query_options options = {sizeof options, filter, 0, 0, 0};
  CHECK(tt_recommend(c.session, &user, 1, 3, &options, &top) == TT_ERROR_HANDLE);
  CHECK(std::string(tt_last_error()) ==
        "[tt_recommend] options.filter is of another model; make one for the model that is searched");
  CHECK(tt_recommend(d.session, &user, 1, 3, &options, &top) == TT_OK);
  tt_filter_close(filter);
}

TEST_CASE("hostile: numbers that are none, K = 0 and K = 2^63") {
  const testing::Written w(testing::c_config("history"));
  const testing::Open c(w.path);
  const tt_results* top = nullptr;
  const tt_user user = user_of("u1");
  const tt_query_options all = {sizeof all, nullptr, 0, 1, 0};
  CHECK(tt_recommend(c.session, &user, 1, 0, nullptr, &top) == TT_ERROR_ARGUMENT);
  CHECK(std::string(tt_last_error()) == "[tt_recommend] k = 0; ask for at least 1 item");
  for (const size_t k : {kHuge, kHuge - 1, std::numeric_limits<size_t>::max()}) {
    CHECK(tt_recommend(c.session, &user, 1, k, &all, &top) == TT_OK);
    CHECK(top->counts[0] == 40);
    CHECK(top->k == 40);
  }
  const float inf = std::numeric_limits<float>::infinity();
  float queries[8] = {1, 2, 3, 4, 5, 6, std::nanf(""), 8};
  CHECK(tt_search(c.session, queries, 2, 4, 3, nullptr, &top) == TT_ERROR_ARGUMENT);
  CHECK(std::string(tt_last_error()) == "[tt_search] query 1 holds nan at 2; vectors must be finite");
  queries[6] = -inf;
  CHECK(tt_search(c.session, queries, 2, 4, 3, nullptr, &top) == TT_ERROR_ARGUMENT);
  queries[6] = 3e38f;  // products overflow: an order, whatever it is, and no NaN
  CHECK(tt_search(c.session, queries, 2, 4, kHuge, nullptr, &top) == TT_OK);
  CHECK(tt_search(c.session, queries, 2, 4, 0, nullptr, &top) == TT_ERROR_ARGUMENT);
  for (const size_t dimension : {size_t{0}, size_t{3}, size_t{5}, kHuge})
    CHECK(tt_search(c.session, queries, 1, dimension, 3, nullptr, &top) == TT_ERROR_ARGUMENT);
  const char* const items[] = {"i1", "i2"};
  const size_t beyond[] = {0, kHuge};
  float scores[2];
  CHECK(tt_score(c.session, &user, 1, beyond, items, 2, nullptr, scores) == TT_ERROR_ARGUMENT);
  const tt_user two[] = {user, user, user};
  CHECK(tt_score(c.session, two, 3, nullptr, items, 2, nullptr, scores) == TT_ERROR_ARGUMENT);
}

TEST_CASE("hostile: text that is not UTF-8, or very long") {
  const testing::Written w(testing::c_config("history"));
  const testing::Open c(w.path);
  const tt_results* top = nullptr;
  const char* const bad[] = {"\xff\xfe", "\xc3", "\xed\xa0\x80", "\xf8\x88\x80\x80\x80", "a\xc0\xaf", "\x80"};
  for (const char* text : bad) {
    const tt_user user = user_of(text);
    CHECK(tt_recommend(c.session, &user, 1, 3, nullptr, &top) == TT_ERROR_NOT_FOUND);
    for (const char* s = tt_last_error(); *s; ++s) CHECK(static_cast<unsigned char>(*s) < 0x80);  // '?' in its place
    const tt_feature named[] = {{text, "1"}}, valued[] = {{"town", text}};
    const tt_user words[] = {{sizeof(tt_user), nullptr, named, 1, nullptr, 0, nullptr, 0},
                             {sizeof(tt_user), nullptr, valued, 1, &text, 1, &text, 1}};
    CHECK(tt_recommend(c.session, words, 1, 3, nullptr, &top) == TT_ERROR_NOT_FOUND);
    CHECK(tt_recommend(c.session, words + 1, 1, 3, nullptr, &top) == TT_OK);
    CHECK(top->unknown_values == 1);
    CHECK(top->unknown_items == 2);
    const tt_item item = {sizeof item, text, nullptr, 0};
    CHECK(tt_model_add_items(c.model, &item, 1, nullptr) == TT_ERROR_ARGUMENT);
    CHECK(tt_model_remove_items(c.model, &text, 1) == TT_ERROR_NOT_FOUND);
  }
  const tt_item good[] = {{sizeof(tt_item), "\xc3\xb6\xe2\x82\xac\xf0\x9f\x98\x80", nullptr, 0},
                          {sizeof(tt_item), "", nullptr, 0}};
  CHECK(tt_model_add_items(c.model, good, 1, nullptr) == TT_OK);
  CHECK(tt_model_add_items(c.model, good + 1, 1, nullptr) == TT_ERROR_ARGUMENT);
  // The text of an error is cut between characters, in its middle.
  std::string longer;
  for (int i = 0; i < 2000; ++i) longer += "\xc3\xb6";
  const tt_user user = user_of(longer.c_str());
  CHECK(tt_recommend(c.session, &user, 1, 3, nullptr, &top) == TT_ERROR_NOT_FOUND);
  const std::string text = tt_session_error(c.session);
  CHECK(text.size() > 1000);
  CHECK(text.size() < 1024);
  CHECK(text.find("\xc3\xb6 ... ") != std::string::npos);
  CHECK(text.find('?') == std::string::npos);
}

TEST_CASE("hostile: a session is asked from within its own log callback") {
  const testing::Written w(testing::c_config("history"));
  // Damage that opening does not see and a user's history shows.
  std::string bytes = read_whole_file(w.path);
  bytes[place_of(w.path, "users.seen_offsets") + 8 + 7] = 0x7f;  // user 0's end
  struct Seen {
    tt_session* session = nullptr;
    tt_status status = TT_OK;
    int errors = 0;
  } seen;
  tt_open_options options = {};
  options.struct_size = sizeof options, options.log_data = &seen;
  options.log = [](void* data, int32_t level, const char*) {
    auto& s = *static_cast<Seen*>(data);
    if (level != TT_LOG_ERROR) return;
    ++s.errors;
    const tt_user user = user_of("u1");
    const tt_results* top = nullptr;
    s.status = tt_recommend(s.session, &user, 1, 3, nullptr, &top);
    CHECK(tt_session_close(s.session) == TT_ERROR_BUSY);
  };
  tt_model* model = nullptr;
  REQUIRE(tt_model_open_memory(bytes.data(), bytes.size(), &options, &model) == TT_OK);
  REQUIRE(tt_session_open(model, nullptr, &seen.session) == TT_OK);
  const tt_user user = user_of("u0");
  const tt_results* top = nullptr;
  CHECK(tt_recommend(seen.session, &user, 1, 3, nullptr, &top) == TT_ERROR_CORRUPT);
  CHECK(std::string(tt_session_error(seen.session)) ==
        "[bundle in memory] the offsets of \"users.seen_items\" are damaged; make it anew with `twotower pack`");
  CHECK(std::string(tt_last_error()) == tt_session_error(seen.session));  // not the callback's
  CHECK(seen.errors == 1);
  CHECK(seen.status == TT_ERROR_BUSY);
  CHECK(tt_session_close(seen.session) == TT_OK);
  tt_model_close(model);
}
