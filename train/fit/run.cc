#include <twotower/tensor/error.h>
#include <twotower/train/fit/checkpoint.h>
#include <twotower/train/fit/run.h>

#include <filesystem>

namespace tt {

Run open_run(const std::string& run_dir, const std::string& data_dir) {
  const std::string config_path = run_dir + "/config.toml", where = "run " + run_dir;
  std::error_code ignored;
  check(std::filesystem::exists(config_path, ignored), where,
        "there is no config.toml; give a folder that `twotower train --out` wrote");
  check(std::filesystem::exists(run_dir + "/model.safetensors", ignored), where,
        "there is no model.safetensors: its training was stopped too early; go on with `twotower train --resume`");
  Run run;
  read_config_file(config_path, run.config);
  if (!data_dir.empty()) run.config.data = data_dir;
  check(std::filesystem::exists(run.config.data, ignored), where, "its dataset \"", run.config.data,
        "\" is not there; give its place with --data DIR");
  run.data = Dataset::open(run.config.data);
  run.model = std::make_unique<TwoTower<float>>(run.config.model);
  load_model(run_dir + "/model.safetensors", *run.model);
  return run;
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
  if (model.distill)
    check(data.has_ranker_scores(), where,
          "it has no ranker scores, which distillation needs; set distill = false, or import them with --ranker");
}

}  // namespace tt
