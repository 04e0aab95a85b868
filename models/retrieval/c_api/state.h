#pragma once
// What stands behind the handles of the C interface.

#include <twotower/models/retrieval/c_api/call.h>
#include <twotower/models/retrieval/c_api/handles.h>
#include <twotower/models/retrieval/filter.h>
#include <twotower/models/retrieval/live_catalog.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/tensor/threads/parallel.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tt::c_api {

struct Model {
  // bytes: what the bundle views, if it was copied; else empty.
  Model(std::vector<std::byte> copied, Bundle opened, const tt_open_options& options);

  // Tells the log, if there is one. What was done is done: nothing that goes wrong here fails a call.
  template <class... Parts>
  void tell(int32_t level, const Parts&... parts) const noexcept {
    if (!log) return;
    try {
      log(log_data, level, one_line(joined(parts...)).c_str());
    } catch (...) {
    }
  }

  std::vector<std::byte> bytes;
  Bundle bundle;
  LiveCatalog live;
  tt_log_function log;
  void* log_data;
  std::vector<std::string> user_features, item_features, filter_columns;
  std::atomic<uint64_t> changes{0};  // of items
  std::shared_ptr<Model> self;       // until the handle is closed
};

struct Filter {
  std::shared_ptr<Model> model;
  tt::Filter filter;
};

// Users as the recommender reads them, and the memory that they are views of.
struct UserBatch {
  std::vector<ServedUser> users;
  std::vector<NamedValue> named;
  std::vector<float> features;
  std::vector<int32_t> rows;
  struct Range {
    size_t begin = 0, end = 0;
  };
  std::vector<Range> histories, left_out;  // of rows, by user
  size_t unknown_values = 0, unknown_items = 0;
};

// Answers as the caller reads them, and the memory that they are views of.
struct Answers {
  tt_results results;
  std::vector<size_t> counts;
  std::vector<char> text;               // ids and titles, each with a zero behind it
  std::vector<size_t> id_at, title_at;  // where they begin
  std::vector<const char*> ids, titles;
};

struct Session {
  Session(std::shared_ptr<Model> of, int count) : model(std::move(of)), threads(count) {}

  // What a call begins with: it serves the state that the items are in then, to its end. Looking whether the session
  // has it already takes no lock.
  void take_present_items();

  std::shared_ptr<Model> model;
  int threads;
  std::atomic<bool> busy{false};
  char error[kErrorText] = "";
  std::optional<Recommender> recommender;
  Catalog items;  // the state that the recommender serves
  uint64_t changes = 0;
  tt::Session session;
  Arena arena;  // of items' vectors
  Tape<float> tape{arena, /*recording=*/false};
  UserBatch batch;
  std::vector<int64_t> item_rows;
  std::vector<std::string_view> item_ids;
  std::vector<float> item_features, item_vectors;
  TopItems top;
  Answers answers;
};

// Reads the users into session.batch. What they shall not get is in leave_out: what they have seen, unless that may
// come, and what is excluded by name. Refuses users whom the model does not have and features that it does not read.
std::span<const ServedUser> read_users(Session& session, const tt_user* users, size_t count, bool include_seen,
                                       const char* where);

// Refuses a feature that is given twice, of those whose names the model has.
void check_once(std::span<const NamedValue> named, const char* where);

// Runs f(session) for a call of the C interface. An Error that is of no kind means that the bundle is damaged:
// arguments are checked before anything is done.
template <class F>
tt_status in_session(tt_session* handle, const char* where, F&& f) noexcept {
  Session* session = nullptr;
  tt_status status = guarded(TT_ERROR_INTERNAL, nullptr, [&] {
    session = object_of(handle);
    if (!session)
      refuse(TT_ERROR_HANDLE, where, "the session is closed, or is none; give one that tt_session_open() made");
    if (session->busy.exchange(true, std::memory_order_acquire)) {
      session = nullptr;
      refuse(TT_ERROR_BUSY, where, "the session is in a call already; give each thread a session of its own");
    }
  });
  if (status != TT_OK) return status;
  status = guarded(TT_ERROR_CORRUPT, session->error, [&] {
    const ThreadScope threads(session->threads);
    session->take_present_items();
    f(*session);
  });
  if (status >= TT_ERROR_CORRUPT) {
    session->model->tell(TT_LOG_ERROR, static_cast<const char*>(session->error));
    keep_error(status, session->error);  // the callback may have failed at something since
  }
  session->busy.store(false, std::memory_order_release);
  return status;
}

// Runs f(model) for a call of the C interface.
template <class F>
tt_status in_model(tt_model* handle, const char* where, tt_status of_error, F&& f) noexcept {
  return guarded(of_error, nullptr, [&] {
    Model* model = object_of(handle);
    if (!model) refuse(TT_ERROR_HANDLE, where, "the model is closed, or is none; give one that tt_model_open() made");
    const ThreadScope threads(1);
    f(*model);
  });
}

}  // namespace tt::c_api
