#include <twotower/models/retrieval/recommender.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tt {
namespace {

constexpr int64_t kUserTile = 256;   // users at a time
constexpr int64_t kPairTile = 4096;  // user-item pairs through the light ranker at a time
constexpr float kInf = std::numeric_limits<float>::infinity();

}  // namespace

Recommender::Recommender(const Bundle& bundle, Catalog catalog) : Recommender(bundle.model(), std::move(catalog)) {
  bundle_ = &bundle;
  check(catalog_.weights().empty() || catalog_.weights() == bundle.weights_fingerprint(), "recommend",
        "the catalog's vectors were made with other weights than the bundle's; give the bundle's own catalog");
}

Recommender::Recommender(const Bundle& bundle, const LiveCatalog& items) : Recommender(bundle, items.snapshot()) {
  live_ = &items;
  catalog_ = {};
}

Recommender::Recommender(const TwoTower<float>& model, Catalog catalog) : model_(&model), catalog_(std::move(catalog)) {
  check(catalog_.rows() > 0, "recommend", "the catalog holds no items");
  check(catalog_.width() == model.config().item_id_embedding_dim, "recommend", "the catalog's vectors have ",
        catalog_.width(), " dimensions, the model's ", model.config().item_id_embedding_dim);
}

const Bundle& Recommender::bundle() const {
  check(bundle_ != nullptr, "recommend", "users by id or in words need a bundle; open one, or give rows");
  return *bundle_;
}

int64_t Recommender::candidates(const Ask& ask) const {
  return ask.candidates > 0 ? ask.candidates : model_->config().num_mips_items;
}

int64_t Recommender::most(const Ask& ask) const {
  const int64_t all = catalog().count(ask.among);
  return reranks(ask) ? std::min(all, candidates(ask)) : all;
}

// What the user tower reads, gathered into the arena.
UserInputs<float> Recommender::inputs(Session& s, std::span<const ServedUser> users) const {
  const ModelConfig& config = model_->config();
  const Catalog& catalog = s.catalog_;
  const auto n = static_cast<int64_t>(users.size());
  const int64_t width = config.user_features_size, kinds = config.history ? config.history_actions : 0;
  const Tensor<int64_t> ids = make_tensor<int64_t>(s.arena_, {n});
  UserInputs<float> out;
  out.id = ids;
  for (int64_t i = 0; i < n; ++i) {
    ids[i] = users[static_cast<size_t>(i)].row;
    check(ids[i] >= -1 && ids[i] < config.user_id_hash_size, "recommend", "user row ", ids[i], " is not in 0 .. ",
          config.user_id_hash_size - 1, "; -1 stands for a user whom training has not met");
  }
  if (width > 0) {
    const Tensor<float> features = make_tensor<float>(s.arena_, {n, width});
    for (int64_t i = 0; i < n; ++i) {
      const auto own = users[static_cast<size_t>(i)].features;
      check(own.empty() || static_cast<int64_t>(own.size()) == width, "recommend", "a user has ", own.size(),
            " features, the model reads ", width);
      if (own.empty()) std::fill_n(features.row(i), width, 0.0f);
      std::copy(own.begin(), own.end(), features.row(i));
    }
    out.features = features;
  }
  if (!config.history) return out;

  int64_t most = 0;
  for (const ServedUser& user : users)
    most += std::min(static_cast<int64_t>(user.history.size()), config.user_history_seqlen);
  const Tensor<int64_t> offsets = make_tensor<int64_t>(s.arena_, {n + 1});
  const Tensor<int64_t> items = make_tensor<int64_t>(s.arena_, {most});
  const Tensor<uint8_t> actions = make_tensor<uint8_t>(s.arena_, {most, kinds});
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    const ServedUser& user = users[static_cast<size_t>(i)];
    check(kinds == 0 || user.actions.empty() || user.actions.size() == user.history.size() * static_cast<size_t>(kinds),
          "recommend", "a history of ", user.history.size(), " items has ", user.actions.size(),
          " action flags, the model reads ", kinds, " an item");
    offsets[i] = at;
    // Newest first, as many as the model reads of those that it knows.
    for (size_t j = user.history.size(); j-- > 0 && at - offsets[i] < config.user_history_seqlen;) {
      const int64_t item = user.history[j];
      check(item >= 0 && item < catalog.rows(), "recommend", "a history holds the item row ", item,
            ", the catalog has 0 .. ", catalog.rows() - 1);
      const int64_t learnt = catalog.learnt_row(item);
      if (learnt < 0) continue;
      for (int64_t a = 0; a < kinds; ++a)
        actions[at * kinds + a] =
            user.actions.empty() ? a == 0 : user.actions[j * static_cast<size_t>(kinds) + static_cast<size_t>(a)];
      items[at++] = learnt;
    }
  }
  offsets[n] = at;
  out.history_offsets = offsets;
  out.history_items = {items.data(), {at}};
  if (kinds > 0) out.history_actions = {actions.data(), {at, kinds}};
  return out;
}

// One tile: vectors into u [B, DI] and, with a light ranker, its user vectors into ranker [B, NU * DI].
void Recommender::encode_tile(Session& s, std::span<const ServedUser> users, float* u, float* ranker) const {
  s.tape_.reset();  // also after a call that threw
  const auto served = model_->serve(s.tape_, inputs(s, users));
  const Tensor<float> vectors = served.u.value();
  std::copy(vectors.begin(), vectors.end(), u);
  if (ranker) {
    const Tensor<float> wide = served.ranker.value();
    std::copy(wide.begin(), wide.end(), ranker);
  }
  s.tape_.reset();
}

void Recommender::encode(Session& session, std::span<const ServedUser> users, float* out) const {
  session.catalog_ = catalog();
  const int64_t d = model_->config().item_id_embedding_dim;
  for (size_t lo = 0; lo < users.size(); lo += kUserTile) {
    const auto tile = users.subspan(lo, std::min<size_t>(kUserTile, users.size() - lo));
    encode_tile(session, tile, out + static_cast<int64_t>(lo) * d, nullptr);
  }
}

void Recommender::find_excluded(Session& s, const Ask& ask) const {
  s.excluded_.clear();
  for (const std::string_view id : ask.exclude)
    if (const auto row = s.catalog_.find(id)) s.excluded_.push_back(*row);
}

// What each user of a tile shall not get, or null where that is nothing.
const SkipRows* Recommender::skip_rows(Session& s, std::span<const ServedUser> users, const Ask& ask) const {
  if (ask.include_seen && s.excluded_.empty()) return nullptr;
  const int64_t rows = s.catalog_.rows();
  s.skip_.clear();
  for (const ServedUser& user : users) {
    const auto first = static_cast<std::ptrdiff_t>(s.skip_.rows.size());
    if (!ask.include_seen)
      for (const int32_t row : user.leave_out)
        if (row >= 0 && row < rows) s.skip_.rows.push_back(row);
    if (!s.excluded_.empty()) {
      s.skip_.rows.insert(s.skip_.rows.end(), s.excluded_.begin(), s.excluded_.end());
      std::sort(s.skip_.rows.begin() + first, s.skip_.rows.end());
      s.skip_.rows.erase(std::unique(s.skip_.rows.begin() + first, s.skip_.rows.end()), s.skip_.rows.end());
    }
    s.skip_.offsets.push_back(static_cast<int64_t>(s.skip_.rows.size()));
  }
  return &s.skip_;
}

void Recommender::search(Session& s, Tensor<const float> users, const Ask& ask, TopItems& out) const {
  check(ask.candidates == 0, "retrieve", "--candidates ", ask.candidates,
        " are for a light ranker to put in order, which a search with given vectors has none of; leave it out");
  s.catalog_ = catalog();
  find_excluded(s, ask);
  const SkipRows* skip = nullptr;
  if (!s.excluded_.empty()) {
    std::sort(s.excluded_.begin(), s.excluded_.end());
    s.skip_.clear();
    for (int64_t q = 0; users && q < users.rows(); ++q) {
      s.skip_.rows.insert(s.skip_.rows.end(), s.excluded_.begin(), s.excluded_.end());
      s.skip_.offsets.push_back(static_cast<int64_t>(s.skip_.rows.size()));
    }
    skip = &s.skip_;
  }
  s.catalog_.search(users, ask.k, out, s.scratch_, ask.among, skip);
}

void Recommender::recommend(Session& s, std::span<const ServedUser> users, const Ask& ask, TopItems& out) const {
  s.catalog_ = catalog();
  recommend_now(s, users, ask, out);
}

void Recommender::recommend_now(Session& s, std::span<const ServedUser> users, const Ask& ask, TopItems& out) const {
  const Catalog& catalog = s.catalog_;
  check(ask.k >= 1, "retrieve", "k = ", ask.k, "; ask for at least 1 item");
  if (ask.among) ask.among->check_fits(catalog);
  const int64_t d = catalog.width(), wide = model_->config().num_ranker_user_embeddings * d;
  const int64_t k = std::min(ask.k, std::max<int64_t>(catalog.most(ask.among), 1));  // no more than there are
  const bool light = reranks(ask);
  check(light || ask.candidates == 0, "retrieve", "--candidates ", ask.candidates,
        " are for a light ranker to put in order, and ",
        has_light_ranker() ? "this model's is left out" : "this model has none", "; leave --candidates out");
  if (light && k > candidates(ask))
    check(catalog.count(ask.among) <= candidates(ask), "retrieve", "k = ", k, " is more than the ", candidates(ask),
          " candidates that the light ranker puts in order; ask for fewer, or raise --candidates");
  find_excluded(s, ask);
  out.resize(static_cast<int64_t>(users.size()), k);
  for (size_t lo = 0; lo < users.size(); lo += kUserTile) {
    const auto tile = users.subspan(lo, std::min<size_t>(kUserTile, users.size() - lo));
    const auto n = static_cast<int64_t>(tile.size()), first = static_cast<int64_t>(lo);
    s.u_.resize(static_cast<size_t>(n * d));
    s.ranker_.resize(light ? static_cast<size_t>(n * wide) : 0);
    encode_tile(s, tile, s.u_.data(), light ? s.ranker_.data() : nullptr);
    catalog.search({s.u_.data(), {n, d}}, light ? candidates(ask) : k, s.tile_, s.scratch_, ask.among,
                   skip_rows(s, tile, ask));
    if (light) {
      rerank(s, n, first, k, out);
    } else {
      std::copy(s.tile_.rows.begin(), s.tile_.rows.end(), out.rows.begin() + first * k);
      std::copy(s.tile_.values.begin(), s.tile_.values.end(), out.values.begin() + first * k);
      std::copy(s.tile_.counts.begin(), s.tile_.counts.end(), out.counts.begin() + first);
    }
  }
}

// values[p] = the light ranker's value of item rows[p] for the user user_of[p] of the tile; an item of -1 is skipped.
void Recommender::light_values(Session& s, int64_t pairs, const int64_t* user_of, const int64_t* rows,
                               float* values) const {
  const LightRanker<float>& light = *model_->light_ranker();
  const Catalog& catalog = s.catalog_;
  const int64_t d = catalog.width(), wide = model_->config().num_ranker_user_embeddings * d;
  for (int64_t lo = 0; lo < pairs; lo += kPairTile) {
    const int64_t n = std::min(kPairTile, pairs - lo);
    const auto pair_users = make_tensor<float>(s.arena_, {n, d}), pair_items = make_tensor<float>(s.arena_, {n, d});
    const auto pair_wide = make_tensor<float>(s.arena_, {n, wide});
    parallel_for(0, n, 256, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t user = user_of[lo + p], item = rows[lo + p];
        std::copy_n(s.u_.data() + user * d, d, pair_users.row(p));
        std::copy_n(s.ranker_.data() + user * wide, wide, pair_wide.row(p));
        if (item >= 0)
          std::copy_n(catalog.vector(item), d, pair_items.row(p));
        else
          std::fill_n(pair_items.row(p), d, 0.0f);
      }
    });
    const Tensor<float> logits =
        light.logits(s.tape_, s.tape_.constant(pair_wide), s.tape_.constant(pair_users), s.tape_.constant(pair_items))
            .value();
    for (int64_t p = 0; p < n; ++p) {
      const float value = light.value(logits.row(p));
      values[lo + p] = std::isnan(value) ? -kInf : value;
    }
    s.tape_.reset();
  }
}

// Puts each user's candidates of the tile in the order of their values; the k best go to rows first, first + 1, ...
void Recommender::rerank(Session& s, int64_t users, int64_t first, int64_t k, TopItems& out) const {
  const int64_t m = s.tile_.k;
  s.user_of_.resize(static_cast<size_t>(users * m));
  for (size_t p = 0; p < s.user_of_.size(); ++p) s.user_of_[p] = static_cast<int64_t>(p) / m;
  light_values(s, users * m, s.user_of_.data(), s.tile_.rows.data(), s.tile_.values.data());
  for (int64_t q = 0; q < users; ++q) {
    const auto items = s.tile_.items(q);
    const auto values = s.tile_.scores(q);
    s.order_.resize(items.size());
    std::iota(s.order_.begin(), s.order_.end(), 0);
    std::sort(s.order_.begin(), s.order_.end(), [&](int64_t a, int64_t b) {
      const auto i = static_cast<size_t>(a), j = static_cast<size_t>(b);
      return values[i] != values[j] ? values[i] > values[j] : items[i] < items[j];
    });
    const auto found = std::min<int64_t>(k, static_cast<int64_t>(items.size()));
    for (int64_t r = 0; r < k; ++r) {
      const auto to = static_cast<size_t>((first + q) * k + r);
      const size_t from = r < found ? static_cast<size_t>(s.order_[static_cast<size_t>(r)]) : 0;
      out.rows[to] = r < found ? items[from] : -1;
      out.values[to] = r < found ? values[from] : -kInf;
    }
    out.counts[static_cast<size_t>(first + q)] = found;
  }
}

ServedUser Recommender::known(int64_t row) const {
  const Bundle& b = bundle();
  check(b.has_users(), "recommend", "the bundle ", b.path(),
        " holds no users (--no-users); describe the user by features and history, or pack one with users");
  ServedUser user{-1, b.user_features(row), b.user_history(row), b.user_history_actions(row), b.seen(row)};
  if (b.learnt_users()[static_cast<size_t>(row)] != 0) user.row = row;
  return user;
}

ServedUser Recommender::known(std::string_view user_id) const {
  const Bundle& b = bundle();
  const auto row = b.has_users() ? b.user_ids().find(user_id) : std::optional<int64_t>(0);
  if (!row)
    fail<NotFound>("retrieve", "there is no user \"", user_id, "\" in ", b.path(),
                   "; give an id as it stands in the imported data, such as \"", b.user_ids().text(0),
                   "\", or describe a new user by features and history");
  return known(*row);
}

void Recommender::recommend(Session& session, std::string_view user_id, const Ask& ask, TopItems& out) const {
  const ServedUser user = known(user_id);
  recommend(session, {&user, 1}, ask, out);
}

Unknown Recommender::recommend(Session& s, const NewUser& user, const Ask& ask, TopItems& out) const {
  const FeatureEncoder& encoder = bundle().user_encoder();
  s.catalog_ = catalog();
  Unknown unknown;
  s.features_.resize(static_cast<size_t>(encoder.width()));
  unknown.values = encoder.encode(user.features, "user", s.features_.data());
  if (const NamedValue* again = given_twice(user.features))
    fail("recommend", "the user feature \"", again->column, "\" is given twice; give each once");
  s.history_.clear(), s.leave_out_.clear();
  const auto leave_out = [&](std::string_view id) {
    const auto row = s.catalog_.find(id);
    if (row) s.leave_out_.push_back(static_cast<int32_t>(*row));
    return row.has_value();
  };
  for (size_t i = user.history.size(); i-- > 0;) {
    // What training has met is read also where the item is gone.
    const int64_t learnt = s.catalog_.learnt_row(user.history[i]);
    if (learnt >= 0) s.history_.push_back(static_cast<int32_t>(learnt));
    const bool there = ask.include_seen ? s.catalog_.find(user.history[i]).has_value() : leave_out(user.history[i]);
    unknown.items += learnt < 0 && !there;
  }
  for (const std::string_view id : user.exclude) unknown.items += !leave_out(id);
  std::sort(s.leave_out_.begin(), s.leave_out_.end());
  s.leave_out_.erase(std::unique(s.leave_out_.begin(), s.leave_out_.end()), s.leave_out_.end());
  ServedUser served;
  if (model_->config().user_features_size > 0) served.features = s.features_;
  served.history = s.history_, served.leave_out = s.leave_out_;
  Ask without_these = ask;
  without_these.include_seen = false;
  recommend_now(s, {&served, 1}, without_these, out);  // what is excluded by name stays out
  return unknown;
}

void Recommender::score(Session& s, const ServedUser& user, std::span<const int64_t> items, float* out,
                        const Ask& ask) const {
  // Where items change meanwhile, rows mean what they meant when the session's last call found them.
  const Catalog now = catalog();
  if (!live_ || s.catalog_.shared_base() != now.shared_base()) s.catalog_ = now;
  score_now(s, user, items, out, ask);
}

void Recommender::score(Session& s, const ServedUser& user, std::span<const std::string_view> ids, float* out,
                        const Ask& ask) const {
  s.catalog_ = catalog();
  s.rows_.clear();
  for (const std::string_view id : ids) {
    const auto row = s.catalog_.find(id);
    if (!row) fail<NotFound>("recommend", "there is no item \"", id, "\"; it may have been removed");
    s.rows_.push_back(*row);
  }
  score_now(s, user, s.rows_, out, ask);
}

void Recommender::score_now(Session& s, const ServedUser& user, std::span<const int64_t> items, float* out,
                            const Ask& ask) const {
  const Catalog& catalog = s.catalog_;
  const int64_t d = catalog.width(), wide = model_->config().num_ranker_user_embeddings * d;
  const bool light = reranks(ask);
  for (const int64_t row : items) {
    check(row >= 0 && row < catalog.rows(), "recommend", "there is no item row ", row, ", there are ", catalog.rows());
    (void)catalog.vector(row);  // throws for one that is gone
  }
  s.u_.resize(static_cast<size_t>(d));
  s.ranker_.resize(light ? static_cast<size_t>(wide) : 0);
  encode_tile(s, {&user, 1}, s.u_.data(), light ? s.ranker_.data() : nullptr);
  if (light) {
    s.user_of_.assign(items.size(), 0);
    light_values(s, static_cast<int64_t>(items.size()), s.user_of_.data(), items.data(), out);
    return;
  }
  for (size_t i = 0; i < items.size(); ++i)
    out[i] = std::inner_product(s.u_.begin(), s.u_.end(), catalog.vector(items[i]), 0.0f);
}

}  // namespace tt
