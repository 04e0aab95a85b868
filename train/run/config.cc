#include <twotower/tensor/text.h>
#include <twotower/train/run/config.h>
#include <twotower/train/run/toml_fields.h>

#include <algorithm>

namespace tt {
namespace {

using Field = ConfigField<TrainConfig>;

#define TT_FIELD(name) \
  Field { #name, &TrainConfig::name }
const std::vector<Field>& fields() {
  static const std::vector<Field> list = {
      TT_FIELD(batch_size),
      TT_FIELD(epochs),
      TT_FIELD(seed),
      TT_FIELD(optimizer),
      TT_FIELD(learning_rate),
      TT_FIELD(user_table_rate),
      TT_FIELD(beta1),
      TT_FIELD(beta2),
      TT_FIELD(epsilon),
      TT_FIELD(weight_decay),
      TT_FIELD(warmup_steps),
      TT_FIELD(decay),
      TT_FIELD(clip_norm),
      TT_FIELD(ema),
      TT_FIELD(monitor),
      TT_FIELD(patience),
      TT_FIELD(evaluate_every),
      TT_FIELD(rows),
      TT_FIELD(user_weight_power),
      TT_FIELD(dropout),
      TT_FIELD(user_id_dropout),
      TT_FIELD(item_id_dropout),
      TT_FIELD(list_users),
      TT_FIELD(list_impressions),
      TT_FIELD(list_recency),
      TT_FIELD(list_policy),
      TT_FIELD(list_uniform),
      TT_FIELD(list_passes),
      TT_FIELD(reward_passes),
      TT_FIELD(reward_weight_decay),
      TT_FIELD(alignment_start_epoch),
      TT_FIELD(prefetch),
  };
  return list;
}
#undef TT_FIELD

// "model.KEY" or "train.KEY" for a bare key; throws Error with the nearest of both tables if neither has it.
std::string qualified(const std::string& key) {
  std::vector<std::string> bare, full;
  for (const Field& f : fields()) bare.emplace_back(f.key), full.push_back("train." + bare.back());
  for (const auto& f : model_fields()) bare.emplace_back(f.key), full.push_back("model." + bare.back());
  const auto full_name = [&](const std::string& name) {
    const auto at = std::find(bare.begin(), bare.end(), name);
    return at == bare.end() ? std::string() : full[static_cast<size_t>(at - bare.begin())];
  };
  const std::string found = full_name(key);
  if (!found.empty()) return found;
  const std::string nearest = full_name(nearest_name(key, bare));
  fail(
      "--set", "unknown key \"", key, "\"",
      nearest.empty() ? std::string("; see docs/config.md for the known ones") : "; did you mean \"" + nearest + "\"?");
}

void read_model_table(const toml::table& table, const std::string& where, ModelConfig& config) {
  // compat first: it sets options that other keys of the table may then change
  if (const auto compat = table["compat"].value<std::string>()) {
    config.compat = *compat;
    config.apply_compat();
  }
  read_toml_fields(table, where, "model.", model_fields(), config);
}

}  // namespace

void TrainConfig::validate() const {
  const auto at_least = [](const char* key, double value, double least) {
    check(value >= least, "config", "train.", key, " = ", value, "; it must be at least ", least);
  };
  const auto share = [](const char* key, double value) {
    check(value >= 0 && value < 1, "config", "train.", key, " = ", value, "; it must be at least 0 and below 1");
  };
  const auto choice = [](const char* key, const std::string& value, std::initializer_list<const char*> choices) {
    std::string list;
    for (const char* c : choices) {
      if (value == c) return;
      list += (list.empty() ? "\"" : ", \"") + std::string(c) + "\"";
    }
    fail("config", "train.", key, " = \"", value, "\"; choose one of ", list);
  };
  at_least("batch_size", static_cast<double>(batch_size), 1);
  at_least("epochs", static_cast<double>(epochs), 1);
  at_least("warmup_steps", static_cast<double>(warmup_steps), 0);
  at_least("patience", static_cast<double>(patience), 0);
  at_least("evaluate_every", static_cast<double>(evaluate_every), 1);
  at_least("alignment_start_epoch", static_cast<double>(alignment_start_epoch), -1);
  at_least("list_users", static_cast<double>(list_users), 1);
  at_least("list_impressions", static_cast<double>(list_impressions), 0);
  check(list_recency >= 0 && list_recency <= 1, "config", "train.list_recency = ", list_recency,
        "; it must be 0 (found out) to 1 (all lists alike)");
  at_least("list_policy", static_cast<double>(list_policy), 0);
  at_least("list_uniform", static_cast<double>(list_uniform), 0);
  at_least("list_passes", static_cast<double>(list_passes), 1);
  at_least("reward_passes", static_cast<double>(reward_passes), 1);
  check(reward_weight_decay >= 0 || reward_weight_decay == -1, "config",
        "train.reward_weight_decay = ", reward_weight_decay, "; it must be at least 0, or -1 (found out)");
  at_least("weight_decay", weight_decay, 0);
  at_least("clip_norm", clip_norm, 0);
  at_least("user_weight_power", user_weight_power, 0);
  check(learning_rate > 0, "config", "train.learning_rate = ", learning_rate, "; it must be positive");
  check(user_table_rate > 0, "config", "train.user_table_rate = ", user_table_rate, "; it must be positive");
  check(epsilon > 0, "config", "train.epsilon = ", epsilon, "; it must be positive");
  share("beta1", beta1);
  share("beta2", beta2);
  share("ema", ema);
  check(user_id_dropout >= 0 && user_id_dropout <= 1, "config", "train.user_id_dropout = ", user_id_dropout,
        "; it must be 0 to 1");
  share("item_id_dropout", item_id_dropout);
  share("dropout", dropout);
  choice("optimizer", optimizer, {"adam", "adagrad"});
  choice("decay", decay, {"none", "linear", "cosine"});
  choice("rows", rows, {"auto", "all", "positive", "users", "sequences"});
}

void apply_rung(RunConfig& config, const std::string& rung) {
  apply_rung(config.model, rung);
  config.rung = rung;
  if (!config.model.needs_lists()) return;
  config.train.learning_rate = 0.005;
  config.train.decay = "cosine";
  config.train.weight_decay = 0.2;
  config.train.epochs = 4;
  config.train.list_passes = rung == "reward" ? 18 : 25;  // a list costs more where the reward is asked
}

void read_config_file(const std::string& path, RunConfig& config) {
  const std::string where = "config " + path;
  const toml::table file = parse_toml_file(path);
  for (const auto& [key, node] : file) {
    const toml::table* table = node.as_table();
    if (key == "model" && table)
      read_model_table(*table, where, config.model);
    else if (key == "train" && table)
      read_toml_fields(*table, where, "train.", fields(), config.train);
    else if (key == "run" && table) {
      config.data = (*table)["data"].value_or(config.data);
      config.rung = (*table)["model"].value_or(config.rung);
      config.data_rows = (*table)["data_rows"].value_or(config.data_rows);
      config.data_log = (*table)["data_log"].value_or(config.data_log);
      config.ranker_pairs = (*table)["ranker_pairs"].value_or(config.ranker_pairs);
    } else {
      fail(where, "unknown table or key \"", key.str(), "\"; the tables are [model] and [train]");
    }
  }
}

void set_config_key(RunConfig& config, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  check(equals != std::string::npos && equals > 0, "--set", "\"", assignment, "\" is not of the form key=value");
  std::string key = assignment.substr(0, equals);
  const std::string value = assignment.substr(equals + 1);
  if (!key.starts_with("model.") && !key.starts_with("train.")) key = qualified(key);
  const bool model = key.starts_with("model.");
  key = key.substr(6);
  if (model)
    read_model_table(parse_assignment(key, value), "--set", config.model);
  else
    read_toml_fields(parse_assignment(key, value), "--set", "train.", fields(), config.train);
}

std::string to_toml(const ModelConfig& config) { return "[model]\n" + write_toml_fields(model_fields(), config); }

ModelConfig load_model_config(const std::string& path) {
  const toml::table file = parse_toml_file(path);
  const toml::table* table = file["model"].as_table();
  check(table != nullptr, "config " + path, "there is no [model] table; begin one with a line [model]");
  ModelConfig config;
  read_model_table(*table, "config " + path, config);
  config.validate();
  return config;
}

std::string to_toml(const RunConfig& config) {
  toml::table run;
  run.insert("data", config.data);
  run.insert("model", config.rung);
  run.insert("data_rows", config.data_rows);
  run.insert("data_log", config.data_log);
  if (!config.ranker_pairs.empty()) run.insert("ranker_pairs", config.ranker_pairs);
  std::ostringstream out;
  out << "[run]\n"
      << run << "\n\n"
      << to_toml(config.model) << "\n[train]\n"
      << write_toml_fields(fields(), config.train);
  return out.str();
}

}  // namespace tt
