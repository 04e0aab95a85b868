#include <twotower/tensor/error.h>
#include <twotower/train/data/fingerprint.h>
#include <twotower/train/run/bundle_maker.h>
#include <twotower/train/run/checkpoint.h>
#include <twotower/train/run/run.h>

#include <filesystem>

namespace tt {

namespace {

namespace fs = std::filesystem;

std::string where(const std::string& run_dir) { return "run " + run_dir; }

void check_is_run(const std::string& run_dir) {
  std::error_code ignored;
  check(fs::exists(run_dir + "/config.toml", ignored), where(run_dir),
        "there is no config.toml; give a folder that `twotower train --out` wrote");
  check(fs::exists(run_dir + "/weights.safetensors", ignored), where(run_dir),
        "there is no weights.safetensors: its training was stopped too early; go on with `twotower train --resume`");
}

// The run's config, and the data it was trained on.
std::pair<RunConfig, Dataset> open_data(const std::string& run_dir, const std::string& data_dir) {
  std::error_code ignored;
  RunConfig config;
  read_config_file(run_dir + "/config.toml", config);
  if (!data_dir.empty()) config.data = data_dir;
  check(fs::exists(config.data, ignored), where(run_dir), "its dataset \"", config.data,
        "\" is not there; give its place with --data DIR");
  Dataset data = Dataset::open(config.data);
  check_rows(data, config.data_rows, run_dir);
  return {std::move(config), std::move(data)};
}

}  // namespace

std::string bundle_of_run(const std::string& run_dir) {
  check_is_run(run_dir);
  std::string path = run_dir + "/bundle.safetensors";
  std::error_code ignored;
  check(fs::exists(path, ignored), where(run_dir), "there is no bundle.safetensors; make it with `twotower pack --run ",
        run_dir, " --out ", path, "`");
  return path;
}

Run open_run(const std::string& run_dir, const std::string& data_dir) {
  Bundle bundle = Bundle::open(bundle_of_run(run_dir));
  auto [config, data] = open_data(run_dir, data_dir);
  check_rows(data, bundle.data().rows, bundle.path());
  return {std::move(config), std::move(data), std::move(bundle)};
}

RankerPairs given_ranker_pairs(const std::string& run_dir, const RunConfig& config, const Dataset& data) {
  if (config.ranker_pairs.empty()) return {};
  const std::string copy = run_dir + "/" + kRankerPairsFile;
  std::error_code ignored;
  check(fs::exists(copy, ignored), where(run_dir), kRankerPairsFile,
        ", its copy of the ranker pairs that it was trained with, is gone; put it back, or train anew");
  RankerPairs pairs = load_ranker_pairs(copy, data);
  check(pairs_fingerprint(pairs) == config.ranker_pairs, where(run_dir), kRankerPairsFile,
        " does not hold the ranker pairs that it was trained with; put those back, or train anew");
  return pairs;
}

RankerPairs ranker_pairs_of_run(const std::string& run_dir, const RunConfig& config, const Dataset& data) {
  RankerPairs pairs = load_ranker_pairs(data);
  add_ranker_pairs(pairs, given_ranker_pairs(run_dir, config, data));
  return pairs;
}

void pack_run(const std::string& run_dir, const std::string& data_dir, const std::string& out, bool users,
              TableType tables) {
  check_is_run(run_dir);
  const auto [config, data] = open_data(run_dir, data_dir);
  check(config.data_log.empty() || log_fingerprint(data) == config.data_log, where(run_dir), "the log of ", data.dir(),
        " is not the one that it was trained on, which says whom and what training has met; give that dataset with "
        "--data");
  TwoTower<float> model(config.model);
  load_model(run_dir + "/weights.safetensors", model);
  const RankerPairs pairs = ranker_pairs_of_run(run_dir, config, data);
  BundleMaker(data, config.model, learnt_rows(data, config.model, config.train, pairs), users)
      .write(out, model, tables);
}

void fit_config_to_data(ModelConfig& model, const Dataset& data) {
  const std::string where = "dataset " + data.dir();
  const auto fit = [&](int64_t& value, int64_t from_data, const char* key) {
    if (value == 0) value = from_data;
    check(value >= from_data, where, "it needs model.", key, " >= ", from_data, ", the config has ", value);
  };
  fit(model.user_id_hash_size, data.num_users(), "user_id_hash_size");
  fit(model.item_id_hash_size, data.num_items(), "item_id_hash_size");
  // A dataset without features holds a constant in their place, which tells a model nothing.
  const auto width = [](const std::vector<std::string>& columns) {
    return columns == std::vector<std::string>{"constant"} ? 0 : static_cast<int64_t>(columns.size());
  };
  model.user_features_size = width(data.user_columns());
  model.item_features_size = width(data.item_columns());
  const auto tasks = static_cast<size_t>(data.num_tasks());
  if (model.user_value_weights.size() != tasks) {
    check(model.user_value_weights.size() == 1, where, "it has ", tasks, " labels, model.user_value_weights ",
          model.user_value_weights.size(), " weights; give one a label");
    model.user_value_weights.assign(data.value_weights().begin(), data.value_weights().end());
  }
  if (model.history_actions > 0)
    check(model.history_actions == data.num_actions(), where, "it has ", data.num_actions(),
          " kinds of action, the config model.history_actions = ", model.history_actions);
  if (model.debias_position())
    check(data.has_positions(), where, "it has no positions, which debias = \"", model.debias,
          "\" needs; use debias = \"user\" or \"none\", or import a position column");
}

}  // namespace tt
