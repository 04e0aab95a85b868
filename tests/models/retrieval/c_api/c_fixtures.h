#pragma once
// A bundle made by hand (bundle_fixtures.h), and handles of the C interface that close themselves.

#include <twotower/models/retrieval/c_api/twotower.h>
#include <twotower/models/retrieval/index/stored_index.h>
#include <twotower/tensor/files/atomic_file.h>

#include <string>
#include <vector>

#include "tests/models/bundle_fixtures.h"

namespace tt::testing {

// 12 users, 40 items; "history", "kd" and others of the ladder.
inline ModelConfig c_config(const std::string& rung, int64_t users = 12, int64_t items = 40) {
  ModelConfig config = rung_config(rung);
  config.user_id_hash_size = users, config.item_id_hash_size = items;
  config.num_mips_items = 15;
  if (config.history) config.history_actions = 2;
  return config;
}

struct Written {
  explicit Written(const ModelConfig& config, bool users = true)
      : made(config, config.user_id_hash_size, config.item_id_hash_size) {
    if (!users) made.content.users = nullptr;
    path = made.write(folder);
  }
  TempFolder folder;
  HandMade made;
  std::string path;
};

// The same bundle with an index, in a file beside it. Of 4000 items and more, "hnsw" is searched by walks: its graph
// has few links, so a walk costs less than a scan.
inline std::string with_index(const Written& w, const std::string& kind) {
  const std::string path = w.folder.path() + "/" + kind;
  write_with_index(path, Bundle::open(w.path), kind, {.links = 4, .ef_construction = 40, .recall = 0.5});
  return path;
}

struct Open {
  explicit Open(const std::string& path, int threads = 1) {
    if (tt_model_open(path.c_str(), nullptr, &model) != TT_OK) fail("test", tt_last_error());
    const tt_session_options options = {sizeof options, threads, 0};
    if (tt_session_open(model, &options, &session) != TT_OK) fail("test", tt_last_error());
  }
  ~Open() { tt_session_close(session), tt_model_close(model); }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;
  tt_model* model = nullptr;
  tt_session* session = nullptr;
};

inline tt_user user_of(const char* id) {
  tt_user user = {};
  user.struct_size = sizeof user, user.id = id;
  return user;
}

inline std::vector<std::string> ids_of(const tt_results* top, size_t query = 0) {
  return {top->ids + query * top->k, top->ids + query * top->k + top->counts[query]};
}

}  // namespace tt::testing
