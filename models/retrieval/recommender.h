#pragma once
// A user in, the best items out: the user tower, the index and the light ranker, if the model has one. It reads no
// dataset and no log. One Recommender serves any number of threads; each has a Session of its own, in which a call
// allocates nothing once it has seen calls of that size.
//
//   const Bundle bundle = Bundle::open("bundle.safetensors");
//   const Recommender recommender(bundle);
//   Session session;
//   TopItems top;
//   recommender.recommend(session, "user 196", {.k = 10}, top);
//   for (int64_t row : top.items(0)) use(session.catalog().id(row));
//
// Over a LiveCatalog each call works from beginning to end on the state that the items were in when it began, and
// session.catalog() is that state: what the rows of the answer mean.

#include <twotower/models/retrieval/filter.h>
#include <twotower/models/retrieval/live_catalog.h>

#include <span>
#include <string_view>
#include <vector>

namespace tt {

// A user as the towers read one. All spans are views.
struct ServedUser {
  int64_t row = -1;                      // of the id table; -1: training has not met the user
  std::span<const float> features = {};  // [IU], encoded; empty: zeros
  // Item rows, oldest first. Those that training has not met are left out; a row of the bundle's is read also where
  // its item is gone.
  std::span<const int32_t> history = {};
  std::span<const uint8_t> actions = {};  // [history, A]; empty: each counts as the first kind of action
  // Item rows not to return unless Ask::include_seen, ascending and without repeats. A row of the bundle's means the
  // item also where it was replaced.
  std::span<const int32_t> leave_out = {};
};

// A user in words, whom the bundle does not know.
struct NewUser {
  std::span<const NamedValue> features = {};       // what is not named is missing
  std::span<const std::string_view> history = {};  // item ids, newest first
  std::span<const std::string_view> exclude = {};  // item ids that shall not be returned
};

struct Ask {
  int64_t k = 10;
  bool include_seen = false;  // whether items that the user was shown, or has in the history, may be returned
  bool rerank = true;         // false: by inner products alone, a light ranker left out
  // How many of the best by inner product a light ranker puts in order; 0: the model's num_mips_items. What comes first
  // never depends on k.
  int64_t candidates = 0;
  const Filter* among = nullptr;  // only items that it lets pass; null: the whole catalog
  std::span<const std::string_view> exclude =
      {};  // item ids that shall not be returned; those that no item has: nothing
};

// What a thread needs for itself.
class Session {
 public:
  Session() : tape_(arena_, /*recording=*/false) {}

  // The items as the last call saw them: what the rows of its answer mean, also after the items have changed.
  const Catalog& catalog() const { return catalog_; }

 private:
  friend class Recommender;
  Arena arena_;
  Tape<float> tape_;
  std::vector<float> u_, ranker_, features_;
  std::vector<int32_t> history_, leave_out_;
  std::vector<int64_t> user_of_, order_, excluded_, rows_;
  Catalog catalog_;
  CatalogScratch scratch_;
  SkipRows skip_;
  TopItems tile_;
};

class Recommender {
 public:
  // The bundle must outlive it, at its place.
  explicit Recommender(const Bundle& bundle) : Recommender(bundle, Catalog(bundle)) {}
  Recommender(const Bundle& bundle, Catalog catalog);  // one state of the items
  // Items that change meanwhile; it must outlive the recommender.
  Recommender(const Bundle& bundle, const LiveCatalog& items);
  Recommender(Bundle&&) = delete;
  Recommender(const Bundle&, LiveCatalog&&) = delete;
  Recommender(Bundle&&, Catalog) = delete;
  // Of a model in memory, which may change while nobody serves. Users are given as ServedUser only.
  Recommender(const TwoTower<float>& model, Catalog catalog);

  Catalog catalog() const { return live_ ? live_->snapshot() : catalog_; }  // as the items are now
  const TwoTower<float>& model() const { return *model_; }
  bool has_light_ranker() const { return model_->light_ranker() != nullptr; }
  bool reranks(const Ask& ask) const { return ask.rerank && has_light_ranker(); }
  // How many items a call can return at most, as the items are now.
  int64_t most(const Ask& ask = {}) const;

  // The k best items of each user, best first; fewer where fewer are left. Scores are inner products or, with a light
  // ranker, its values. Throws Error for k < 1, for more than the light ranker's candidates, for candidates that
  // nothing puts in order, and for rows that the model does not have.
  void recommend(Session& session, std::span<const ServedUser> users, const Ask& ask, TopItems& out) const;
  // By id. Error for an id that the bundle does not know.
  void recommend(Session& session, std::string_view user_id, const Ask& ask, TopItems& out) const;
  // In words. Error with the nearest name for a column that the model does not read, and for one that is given twice.
  Unknown recommend(Session& session, const NewUser& user, const Ask& ask, TopItems& out) const;

  // A user of the bundle. Error as above.
  ServedUser known(std::string_view user_id) const;
  ServedUser known(int64_t row) const;

  // User vectors [users, DI].
  void encode(Session& session, std::span<const ServedUser> users, float* out) const;
  // The k best items by inner product for user vectors [Q, DI] that the caller has; no light ranker. Errors as above.
  void search(Session& session, Tensor<const float> users, const Ask& ask, TopItems& out) const;
  // The scores by which recommend() orders, for given items of one user, whether they may be returned or not. Rows are
  // those of the recommender's catalog or, where items change meanwhile, of session.catalog(), the state that the
  // session's last call saw. Error for a row or an id that is not there.
  void score(Session& session, const ServedUser& user, std::span<const int64_t> items, float* out,
             const Ask& ask = {}) const;
  void score(Session& session, const ServedUser& user, std::span<const std::string_view> ids, float* out,
             const Ask& ask = {}) const;

 private:
  const Bundle& bundle() const;
  // These work on session.catalog(), the state that a public call took first.
  void recommend_now(Session& session, std::span<const ServedUser> users, const Ask& ask, TopItems& out) const;
  void score_now(Session& session, const ServedUser& user, std::span<const int64_t> items, float* out,
                 const Ask& ask) const;
  int64_t candidates(const Ask& ask) const;  // that a light ranker puts in order, where there are so many
  UserInputs<float> inputs(Session& session, std::span<const ServedUser> users) const;
  void encode_tile(Session& session, std::span<const ServedUser> users, float* u, float* ranker) const;
  const SkipRows* skip_rows(Session& session, std::span<const ServedUser> users, const Ask& ask) const;
  void find_excluded(Session& session, const Ask& ask) const;
  void rerank(Session& session, int64_t users, int64_t first, int64_t k, TopItems& out) const;
  void light_values(Session& session, int64_t pairs, const int64_t* user_of, const int64_t* rows, float* values) const;

  const TwoTower<float>* model_;
  Catalog catalog_;
  const LiveCatalog* live_ = nullptr;  // instead of catalog_
  const Bundle* bundle_ = nullptr;
};

}  // namespace tt
