#pragma once
// One forward and backward pass on numbers from files: for checking against another framework, and for teaching.

#include <string>

namespace tt {

// config: TOML with a [model] table. weights: a checkpoint. batch: the columns of an impression log under their names,
// user_history [B, H] padded at the end with -1; optionally ranker_scores [B, T], log_q [B] (log of each item's
// sampling probability, used unless log_q = "none") and corpus f32 [C, DI] for retrieval. Writes `out` (safetensors):
// loss, user_embedding, item_embedding, grad.NAME for every parameter in its own shape and, given a corpus,
// retrieved_items and retrieved_scores. Throws Error for files that do not fit each other.
void run_step(const std::string& config_path, const std::string& weights_path, const std::string& batch_path,
              const std::string& out_path);

}  // namespace tt
