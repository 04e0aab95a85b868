// Users of the C interface: from what the caller says of them to what the towers read, and their vectors.

#include <twotower/models/retrieval/c_api/state.h>

#include <algorithm>

namespace tt::c_api {

void Session::take_present_items() {
  const uint64_t present = model->changes.load(std::memory_order_acquire);
  if (recommender && changes == present) return;
  recommender.reset();
  items = model->live.snapshot();
  recommender.emplace(model->bundle, items);
  changes = present;
}

void check_once(std::span<const NamedValue> named, const char* where) {
  if (const NamedValue* again = given_twice(named))
    refuse(TT_ERROR_ARGUMENT, where, "the feature \"", again->column, "\" is given twice; give each once, ",
           "several values of one joined by '|'");
}

namespace {

// A user of the bundle: views of it, but for what is excluded.
ServedUser known_user(const Session& session, const tt_user& user, const char* where) {
  const Bundle& bundle = session.model->bundle;
  if (user.num_features > 0 || user.num_history > 0)
    refuse(TT_ERROR_ARGUMENT, where, "the user \"", user.id,
           "\" has an id and also features or a history; give the id ",
           "of a user whom the bundle knows, or leave it NULL");
  if (!bundle.has_users())
    refuse(TT_ERROR_UNSUPPORTED, where, "the bundle ", bundle.path(),
           " holds no users; describe the user by features and history, or pack a bundle with users");
  const auto row = bundle.user_ids().find(user.id);
  if (!row)
    refuse(TT_ERROR_NOT_FOUND, where, "there is no user \"", user.id, "\" in ", bundle.path(),
           "; give an id as it stands in the imported data, or describe a new user by features and history");
  return session.recommender->known(*row);
}

// What the caller says of a user whom the bundle does not know, into the batch.
void read_words(Session& session, const tt_user& user, float* features, const char* where) {
  UserBatch& batch = session.batch;
  check_array(user.features, user.num_features, where, "users[].features");
  batch.named.clear();
  for (size_t i = 0; i < user.num_features; ++i) {
    need(user.features[i].name, where, "users[].features[].name");
    need(user.features[i].value, where, "users[].features[].value");
    batch.named.push_back({user.features[i].name, user.features[i].value});
  }
  batch.unknown_values +=
      static_cast<size_t>(session.model->bundle.user_encoder().encode(batch.named, "user", features));
  check_once(batch.named, where);
  // Oldest first. What training has met is read also where the item is gone.
  const Texts history(user.history, user.num_history, where, "users[].history");
  for (size_t i = history.size(); i-- > 0;) {
    const int64_t row = session.items.learnt_row(history[i]);
    if (row >= 0) batch.rows.push_back(static_cast<int32_t>(row));
  }
}

}  // namespace

std::span<const ServedUser> read_users(Session& session, const tt_user* users, size_t count, bool include_seen,
                                       const char* where) {
  const Structs<tt_user> given(users, count, where, "users");
  UserBatch& batch = session.batch;
  const auto width = static_cast<size_t>(session.model->bundle.user_encoder().width());
  const bool reads_features = session.model->bundle.config().user_features_size > 0;
  batch.users.clear(), batch.rows.clear(), batch.histories.clear(), batch.left_out.clear();
  batch.features.resize(count * width);
  batch.unknown_values = batch.unknown_items = 0;
  for (size_t u = 0; u < count; ++u) {
    const tt_user user = given[u];
    ServedUser& served = batch.users.emplace_back();
    UserBatch::Range& history = batch.histories.emplace_back();
    UserBatch::Range& left_out = batch.left_out.emplace_back();
    history.begin = batch.rows.size();
    float* features = batch.features.data() + u * width;
    if (user.id) {
      served = known_user(session, user, where);
    } else {
      read_words(session, user, features, where);
      if (reads_features) served.features = {features, width};
    }
    history.end = left_out.begin = batch.rows.size();

    const Texts read(user.history, user.num_history, where, "users[].history");
    for (size_t i = 0; i < read.size(); ++i) {
      const auto row = session.items.find(read[i]);
      if (row && !include_seen) batch.rows.push_back(static_cast<int32_t>(*row));
      batch.unknown_items += !row && session.items.learnt_row(read[i]) < 0;
    }
    const Texts exclude(user.exclude, user.num_exclude, where, "users[].exclude");
    for (size_t i = 0; i < exclude.size(); ++i) {
      const auto row = session.items.find(exclude[i]);
      if (row) batch.rows.push_back(static_cast<int32_t>(*row));
      batch.unknown_items += !row;
    }
    if (user.id && !include_seen && exclude.size() > 0)  // a list of its own
      batch.rows.insert(batch.rows.end(), served.leave_out.begin(), served.leave_out.end());
    if (user.id && include_seen) served.leave_out = {};
    const auto begin = batch.rows.begin() + static_cast<std::ptrdiff_t>(left_out.begin);
    std::sort(begin, batch.rows.end());
    batch.rows.erase(std::unique(begin, batch.rows.end()), batch.rows.end());
    left_out.end = batch.rows.size();
  }
  // The rows move no more.
  const auto view = [&](const UserBatch::Range& range) {
    return std::span<const int32_t>(batch.rows).subspan(range.begin, range.end - range.begin);
  };
  for (size_t u = 0; u < count; ++u) {
    ServedUser& served = batch.users[u];
    if (batch.histories[u].end > batch.histories[u].begin) served.history = view(batch.histories[u]);
    if (batch.left_out[u].end > batch.left_out[u].begin) served.leave_out = view(batch.left_out[u]);
  }
  return batch.users;
}

}  // namespace tt::c_api

using namespace tt::c_api;

extern "C" {

tt_status tt_embed_users(tt_session* session, const tt_user* users, size_t num_users, float* vectors,
                         size_t vectors_size) {
  return in_session(session, "tt_embed_users", [&](Session& s) {
    const auto served = read_users(s, users, num_users, true, "tt_embed_users");
    check_buffer(vectors, vectors_size, num_users, s.items.width(), "tt_embed_users");
    s.recommender->encode(s.session, served, vectors);
  });
}

}  // extern "C"
