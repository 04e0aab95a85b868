#pragma once
// A run: the folder that training leaves behind.
//   config.toml           as used, and the fingerprints of the data
//   bundle.safetensors    the best epoch, and all that serving needs (models/bundle)
//   weights.safetensors   its weights alone, as PyTorch's load_state_dict takes them
//   metrics.jsonl         a line an evaluation
//   ranker_pairs.safetensors   those given beside the data, if there were any
//   last.safetensors, state.safetensors   what --resume needs

#include <twotower/models/bundle/bundle.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/ranker_pairs.h>
#include <twotower/train/run/config.h>

#include <memory>
#include <string>

namespace tt {

struct Run {
  RunConfig config;
  Dataset data;
  Bundle bundle;
};

// Opens a run with its data, which must be what it was trained on: its users, items and features, that is; its log may
// be another. data_dir: where that data is now; empty: where it was.
Run open_run(const std::string& run_dir, const std::string& data_dir = "");

// The ranker pairs given beside the data, of which the run keeps a copy. Throws Error where the copy is gone or is not
// what the run's config says that it was trained with.
RankerPairs given_ranker_pairs(const std::string& run_dir, const RunConfig& config, const Dataset& data);

// All that the main ranker was asked before the run was trained: what its dataset holds, and what was given beside it.
RankerPairs ranker_pairs_of_run(const std::string& run_dir, const RunConfig& config, const Dataset& data);

// The path of a run's bundle. Throws Error, with the mend, for a folder that is no run or has none.
std::string bundle_of_run(const std::string& run_dir);

// Makes a bundle of a run's best weights anew. users = false: nothing of its users is in it. tables: see
// write_bundle().
void pack_run(const std::string& run_dir, const std::string& data_dir, const std::string& out, bool users,
              TableType tables = TableType::f32);

// Fills what the dataset decides (table sizes, feature widths, value weights, action kinds) where the config leaves it
// open, and throws Error, before anything else starts, if the config asks for what the data does not have.
void fit_config_to_data(ModelConfig& model, const Dataset& data);

}  // namespace tt
