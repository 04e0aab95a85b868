#pragma once
// A run: the folder that training leaves behind. config.toml (as used), model.safetensors (the best epoch),
// metrics.jsonl (a line an evaluation), last.safetensors and state.safetensors (what --resume needs).

#include <twotower/models/two_tower.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/fit/config.h>

#include <memory>
#include <string>

namespace tt {

struct Run {
  RunConfig config;
  Dataset data;
  std::unique_ptr<TwoTower<float>> model;
};

// Opens a run with its best parameters. data_dir: another dataset than the one it was trained on; empty: the same.
Run open_run(const std::string& run_dir, const std::string& data_dir = "");

// Fills what the dataset decides (table sizes, feature widths, value weights, action kinds) where the config leaves it
// open, and throws Error, before anything else starts, if the config asks for what the data does not have.
void fit_config_to_data(ModelConfig& model, const Dataset& data);

}  // namespace tt
