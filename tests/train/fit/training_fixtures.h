#pragma once
// The models whose training steps are tested: every rung, and every option that adds to a step.

#include <twotower/tensor/threads/parallel.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/models/fixtures.h"
#include "tests/models/list_fixtures.h"

namespace tt::testing {

// So many threads while it lives. Small models train fastest on one, above all where tests run beside each
// other.
class Threads {
 public:
  explicit Threads(int n) : before_(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

inline std::vector<std::pair<std::string, ModelConfig>> training_configs() {
  std::vector<std::pair<std::string, ModelConfig>> all;
  const auto wider = [](ModelConfig c) {
    c.user_id_hash_size = 90, c.item_id_hash_size = 300;
    c.user_id_embedding_dim = 12, c.item_id_embedding_dim = 16, c.hidden_size = 32;
    c.user_history_seqlen = 9, c.embedding_init = 0.3;
    return c;
  };
  for (const std::string& rung : rung_names()) all.emplace_back(rung, wider(rung_config(rung)));
  ModelConfig c = wider(rung_config("reward"));
  c.reward = "proxy";
  all.emplace_back("reward by the proxy", c);
  c = wider(rung_config("base"));
  c.normalize = c.learn_temperature = true, c.temperature = 0.2;
  c.mixed_negatives = 50, c.hard_negatives = 20;
  all.emplace_back("normalized, more negatives", c);
  c.negative_queue = 100;
  all.emplace_back("queue", c);
  c = wider(rung_config("history"));
  c.full_softmax = c.transformer_blocks = true, c.history_actions = 3;
  all.emplace_back("full softmax, transformer blocks, actions", c);
  for (const char* kind : {"expected_reward", "dpo"}) {
    c = wider(rung_config("kd"));
    c.alignment = kind, c.reward = "proxy";
    all.emplace_back(std::string("kd and ") + kind + " by the proxy", c);
    c.reward = "model", c.distill_towers = std::string(kind) == "dpo" ? "lists" : "points";
    all.emplace_back(std::string("kd and ") + kind, c);
  }
  return all;
}

}  // namespace tt::testing
