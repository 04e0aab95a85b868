// Eight threads search through an index while one adds, replaces, removes and switches items: every answer is that of
// one state between the call's begin and its end, and that state's answer has no item that is not there and lacks none
// that came or changed. To be built with -Db_sanitize=thread too: ThreadSanitizer must have nothing to say of it, with
// TSAN_OPTIONS=detect_deadlocks=0: hnswlib, which builds the graph on one thread, takes the locks of rows in any order.

#include <doctest/doctest.h>
#include <twotower/tensor/random.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "tests/models/retrieval/c_api/c_fixtures.h"

using namespace tt;
using testing::user_of;

namespace {

constexpr int kItems = 4000, kSearchers = 8, kChanges = 200, kNew = 30;
constexpr size_t kQueries = 2, kTop = 12;

using Answer = std::vector<std::pair<std::string, float>>;  // of all queries

Answer search(tt_session* session, const float* queries, size_t k = kTop) {
  const tt_results* top = nullptr;
  if (tt_search(session, queries, kQueries, 4, k, nullptr, &top) != TT_OK) fail("test", tt_session_error(session));
  Answer out;
  for (size_t q = 0; q < kQueries; ++q)
    for (size_t i = q * top->k; i < q * top->k + top->counts[q]; ++i) out.emplace_back(top->ids[i], top->scores[i]);
  return out;
}

struct Seen {
  size_t before, after;  // changes that had returned before the call began; that had begun when it ended
  Answer answer;
};

}  // namespace

TEST_CASE("C interface: eight threads search through an index while one changes the items") {
  const testing::Written w(testing::c_config("base", 12, kItems));
  for (const std::string kind : {"int8", "hnsw"}) {
    CAPTURE(kind);
    const testing::Open c(with_index(w, kind)), plain(w.path);  // the plain one is changed alike, and searched exactly
    float queries[4 * kQueries];
    const tt_user users[] = {user_of("u3"), user_of("u8")};
    REQUIRE(tt_embed_users(c.session, users, kQueries, queries, 4 * kQueries) == TT_OK);
    // What changes: items that answers hold, and new ones.
    std::vector<std::string> ids;
    for (const auto& [id, score] : search(plain.session, queries, 30)) ids.push_back(id);
    for (int i = 0; i < kNew; ++i) ids.push_back("n" + std::to_string(i));
    std::map<std::string, bool> offered;  // of these
    for (const std::string& id : ids) offered[id] = id[0] == 'i';

    std::atomic<size_t> begun{0}, done{0};
    std::atomic<bool> changing{true};
    std::atomic<int> failed{0};
    std::vector<std::vector<Seen>> seen(kSearchers);
    std::vector<std::thread> threads;
    for (std::vector<Seen>& mine : seen)
      threads.emplace_back([&] {
        tt_session* session = nullptr;
        if (tt_session_open(c.model, nullptr, &session) != TT_OK) return void(++failed);
        try {
          do {
            Seen one;
            one.before = done;
            one.answer = search(session, queries);
            one.after = begun;
            if (mine.size() < 2000) mine.push_back(std::move(one));
          } while (changing);
        } catch (const Error&) {
          ++failed;
        }
        tt_session_close(session);
      });

    std::vector<Answer> found = {search(c.session, queries)}, exact = {search(plain.session, queries)};
    std::vector<std::map<std::string, bool>> offered_by = {offered};
    std::set<std::string> there(ids.begin(), ids.end() - kNew);
    std::set<std::string> changed;  // what is no longer as the index has it
    std::vector<std::set<std::string>> changed_by = {changed};
    const Philox random(23);
    uint64_t at = 0;
    const auto draw = [&](uint64_t n) { return static_cast<int>(random.below(at++, n)); };
    for (int n = 0; n < kChanges; ++n) {
      const std::string id = ids[static_cast<size_t>(draw(ids.size()))], year = std::to_string(1985 + 5 * draw(7));
      const char* const name = id.c_str();
      const tt_feature feature = {"year", year.c_str()};
      const tt_item item = {sizeof item, name, &feature, 1};
      const bool has = there.contains(id);
      const int what = draw(3), on = draw(2);
      ++begun;
      for (tt_model* model : {c.model, plain.model})
        failed += TT_OK != (!has        ? tt_model_add_items(model, &item, 1, nullptr)
                            : what == 0 ? tt_model_remove_items(model, &name, 1)
                            : what == 1 ? tt_model_replace_items(model, &item, 1, nullptr)
                                        : tt_model_set_available(model, &name, 1, on));
      ++done;
      if (!has || what == 1) changed.insert(id);
      if (!has)
        there.insert(id), offered[id] = true;
      else if (what == 0)
        there.erase(id), offered[id] = false;
      else if (what == 2)
        offered[id] = on == 1;
      found.push_back(search(c.session, queries)), exact.push_back(search(plain.session, queries));
      offered_by.push_back(offered), changed_by.push_back(changed);
    }
    changing = false;
    for (std::thread& thread : threads) thread.join();
    CHECK(failed == 0);

    // Each state's answer, as one thread alone gets it.
    int phantoms = 0, lost = 0;
    size_t shared = 0, all = 0;
    for (size_t v = 0; v < found.size(); ++v) {
      for (const auto& [id, score] : found[v]) phantoms += offered_by[v].contains(id) && !offered_by[v].at(id);
      for (const auto& hit : exact[v]) {
        const bool has = std::find(found[v].begin(), found[v].end(), hit) != found[v].end();
        shared += has, ++all;
        lost += !has && (kind == "int8" || changed_by[v].contains(hit.first));
      }
    }
    CHECK(phantoms == 0);
    CHECK(lost == 0);
    CHECK(shared * 2 > all);  // the index brings what it can
    CHECK(search(c.session, queries, 2 * kItems) == search(plain.session, queries, 2 * kItems));

    // What the eight were told.
    int64_t of_no_state = 0, between = 0;
    for (const auto& mine : seen) {
      CHECK(!mine.empty());
      for (const Seen& one : mine) {
        const auto begin = found.begin() + static_cast<std::ptrdiff_t>(one.before),
                   end = found.begin() + static_cast<std::ptrdiff_t>(one.after) + 1;
        of_no_state += std::find(begin, end, one.answer) == end;
        between += one.before > 0 && one.after < kChanges;
      }
    }
    CHECK(of_no_state == 0);
    CHECK(between > 0);
  }
}
