#include <twotower/models/config.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

namespace tt {
namespace {

void check_choice(const char* key, const std::string& value, std::initializer_list<const char*> choices) {
  std::string list;
  for (const char* c : choices) {
    if (value == c) return;
    list += (list.empty() ? "\"" : ", \"") + std::string(c) + "\"";
  }
  const std::string nearest = nearest_name(value, choices);
  fail("config", "model.", key, " = \"", value, "\"; choose one of ", list,
       nearest.empty() ? "" : " (did you mean \"" + nearest + "\"?)");
}

void check_at_least(const char* key, int64_t value, int64_t least) {
  check(value >= least, "config", "model.", key, " = ", value, "; it must be at least ", least);
}

void check_positive(const char* key, double value) {
  check(value > 0, "config", "model.", key, " = ", value, "; it must be positive");
}

}  // namespace

double ModelConfig::reward_temperature() const {
  if (alignment_temperature > 0) return alignment_temperature;
  return reward == "model" ? 1.0 : std::accumulate(user_value_weights.begin(), user_value_weights.end(), 0.0);
}

void ModelConfig::apply_compat() {
  if (compat != "reference") return;
  normalize = false;
  temperature = 1;
  learn_temperature = false;
  embedding_init = 1;
  tower_head = "linear";
  positional_encoding = "doubled";
  causal = false;
  transformer_blocks = false;
  log_q = "none";
  log_q_correct_positive = true;  // as goes with no mask
  mask_accidental_hits = false;
  mask_user_positives = false;
  debias_gradient = true;
  debias_reduction = "sum";
  debias_cap = 0;
  position_init = "normal";
  ranker_value = "logit";
  ranker_serves = "labels";
  ranker_examination = false;
  kd_weight = 1;
  alignment_weight = 1;
  alignment_temperature = 1;
  reward = "proxy";
  distill_towers = "none";
  alignment_fit_ranker = false;
}

void ModelConfig::validate() const {
  check_choice("compat", compat, {"default", "reference"});
  check_choice("debias", debias, {"none", "position", "user", "position+user"});
  check_choice("debias_reduction", debias_reduction, {"mean", "sum"});
  check_choice("position_init", position_init, {"one", "normal"});
  check_choice("alignment", alignment, {"none", "kl", "expected_reward", "dpo"});
  check_choice("reward", reward, {"model", "proxy"});
  check_choice("distill_towers", distill_towers, {"none", "points", "margins", "lists"});
  check_choice("positional_encoding", positional_encoding, {"standard", "doubled"});
  check_choice("ranker_value", ranker_value, {"probability", "logit"});
  check_choice("ranker_serves", ranker_serves, {"labels", "scores"});
  check(
      ranker_serves == "labels" || distill, "config",
      "model.ranker_serves = \"scores\" needs logits that are distilled from the ranker's scores; set distill = true");
  check_choice("tower_head", tower_head, {"linear", "sum"});
  check_choice("log_q", log_q, {"none", "counts", "stream"});
  check_at_least("user_id_hash_size", user_id_hash_size, 1);
  check_at_least("item_id_hash_size", item_id_hash_size, 1);
  check_at_least("user_id_embedding_dim", user_id_embedding_dim, 1);
  check_at_least("item_id_embedding_dim", item_id_embedding_dim, 1);
  check_at_least("user_features_size", user_features_size, 0);
  check_at_least("item_features_size", item_features_size, 0);
  check_at_least("hidden_size", hidden_size, 1);
  check_at_least("num_items", num_items, 1);
  check_at_least("mixed_negatives", mixed_negatives, 0);
  check_at_least("negative_queue", negative_queue, 0);
  check_at_least("hard_negatives", hard_negatives, 0);
  check_positive("temperature", temperature);
  check(tower_head == "linear" || user_id_embedding_dim == item_id_embedding_dim, "config",
        "model.tower_head = \"sum\" needs user_id_embedding_dim = item_id_embedding_dim, which are ",
        user_id_embedding_dim, " and ", item_id_embedding_dim, "; make them equal, or set tower_head = \"linear\"");
  check_positive("embedding_init", embedding_init);
  check(!user_value_weights.empty(), "config", "model.user_value_weights is empty; give one weight a label");
  double total = 0;
  for (const double w : user_value_weights) {
    check(w >= 0, "config", "model.user_value_weights holds ", w, "; weights must not be negative");
    total += w;
  }
  check(total > 0, "config", "model.user_value_weights are all zero; at least one label must count");
  if (history) {
    check_at_least("user_history_seqlen", user_history_seqlen, 1);
    check_at_least("attention_heads", attention_heads, 1);
    check_at_least("attention_layers", attention_layers, 0);
    check(item_id_embedding_dim % attention_heads == 0, "config", "model.attention_heads = ", attention_heads,
          " does not divide model.item_id_embedding_dim = ", item_id_embedding_dim, "; choose a divisor of it");
    check(history_actions >= 0 && history_actions <= 255, "config", "model.history_actions = ", history_actions,
          "; it must be 0 to 255");
  }
  if (light_ranker) {
    check_at_least("num_mips_items", num_mips_items, 1);
    check_at_least("num_ranker_user_embeddings", num_ranker_user_embeddings, 1);
  }
  check(!distill || light_ranker, "config",
        "model.distill needs the light ranker, whose logits it trains; set light_ranker = true");
  check(debias_cap == 0 || debias_cap >= 1, "config", "model.debias_cap = ", debias_cap,
        "; it must be at least 1 (times the median weight), or 0 for none");
  check(kd_weight >= 0, "config", "model.kd_weight = ", kd_weight, "; it must not be negative");
  check(alignment_weight >= 0, "config", "model.alignment_weight = ", alignment_weight, "; it must not be negative");
  check(distill_towers_weight >= 0, "config", "model.distill_towers_weight = ", distill_towers_weight,
        "; it must not be negative");
  check(alignment_temperature >= 0, "config", "model.alignment_temperature = ", alignment_temperature,
        "; it must be positive, or 0 for the usual one");
  check(alignment_beta >= 0, "config", "model.alignment_beta = ", alignment_beta, "; it must not be negative");
  check(reward_members >= 1 && reward_members <= 16, "config", "model.reward_members = ", reward_members,
        "; it must be 1 to 16");
  check(reward_pessimism >= 0, "config", "model.reward_pessimism = ", reward_pessimism, "; it must not be negative");
  check(reward_labels >= 0, "config", "model.reward_labels = ", reward_labels, "; it must not be negative");
  check(log_q == "none" || full_softmax || mask_accidental_hits || log_q_correct_positive, "config",
        "model.mask_accidental_hits = false leaves the positive's item among the negatives, too, where an uncorrected "
        "positive would count twice; set log_q_correct_positive = true");
  check(!mask_user_positives || full_softmax, "config",
        "model.mask_user_positives needs every item as a column; set full_softmax = true (mask_accidental_hits masks "
        "those of the batch)");
  check(!(full_softmax && (mixed_negatives > 0 || negative_queue > 0)), "config",
        "model.full_softmax has every item as a column already; set mixed_negatives = 0 and negative_queue = 0");
}

const std::vector<std::string>& rung_names() {
  static const std::vector<std::string> names = {"base",  "history", "position", "user",   "debias",
                                                 "light", "kd",      "reward",   "aligned"};
  return names;
}

void apply_rung(ModelConfig& config, const std::string& rung) {
  const auto& names = rung_names();
  if (std::find(names.begin(), names.end(), rung) == names.end()) {
    std::string list;
    for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
    fail("config", "there is no model \"", rung, "\"; choose one of ", list);
  }
  config.history = rung != "base";
  config.debias = rung == "base" || rung == "history" ? "none"
                  : rung == "position"                ? "position"
                  : rung == "user"                    ? "user"
                                                      : "position+user";
  config.light_ranker = rung == "light" || rung == "kd" || rung == "aligned";
  config.distill = rung == "kd" || rung == "aligned";
  config.distill_towers = config.distill ? "margins" : "none";
  config.distill_towers_weight = rung == "kd" ? 10 : rung == "aligned" ? 3 : 1;
  // Where scores say much of every user, ids that begin near zero leave their features' prediction only as far as the
  // scores ask.
  config.embedding_init = config.distill || rung == "reward" ? 0.02 : 0.1;
  config.ranker_serves = config.distill ? "scores" : "labels";
  config.alignment = rung == "reward" || rung == "aligned" ? "kl" : "none";
}

#define TT_FIELD(name) \
  ConfigField<ModelConfig> { #name, &ModelConfig::name }
const std::vector<ConfigField<ModelConfig>>& model_fields() {
  static const std::vector<ConfigField<ModelConfig>> list = {
      TT_FIELD(compat),
      TT_FIELD(user_id_hash_size),
      TT_FIELD(item_id_hash_size),
      TT_FIELD(user_id_embedding_dim),
      TT_FIELD(item_id_embedding_dim),
      TT_FIELD(user_features_size),
      TT_FIELD(item_features_size),
      TT_FIELD(hidden_size),
      TT_FIELD(embedding_init),
      TT_FIELD(tower_head),
      TT_FIELD(user_value_weights),
      TT_FIELD(num_items),
      TT_FIELD(normalize),
      TT_FIELD(temperature),
      TT_FIELD(learn_temperature),
      TT_FIELD(history),
      TT_FIELD(user_history_seqlen),
      TT_FIELD(attention_heads),
      TT_FIELD(attention_layers),
      TT_FIELD(transformer_blocks),
      TT_FIELD(positional_encoding),
      TT_FIELD(causal),
      TT_FIELD(history_actions),
      TT_FIELD(log_q),
      TT_FIELD(log_q_correct_positive),
      TT_FIELD(mask_accidental_hits),
      TT_FIELD(mask_user_positives),
      TT_FIELD(mixed_negatives),
      TT_FIELD(negative_queue),
      TT_FIELD(hard_negatives),
      TT_FIELD(full_softmax),
      TT_FIELD(debias),
      TT_FIELD(debias_gradient),
      TT_FIELD(debias_reduction),
      TT_FIELD(debias_cap),
      TT_FIELD(position_init),
      TT_FIELD(light_ranker),
      TT_FIELD(num_mips_items),
      TT_FIELD(num_ranker_user_embeddings),
      TT_FIELD(ranker_value),
      TT_FIELD(ranker_serves),
      TT_FIELD(ranker_examination),
      TT_FIELD(distill),
      TT_FIELD(kd_weight),
      TT_FIELD(distill_towers),
      TT_FIELD(distill_towers_weight),
      TT_FIELD(alignment),
      TT_FIELD(reward),
      TT_FIELD(alignment_weight),
      TT_FIELD(alignment_temperature),
      TT_FIELD(alignment_beta),
      TT_FIELD(reward_members),
      TT_FIELD(reward_pessimism),
      TT_FIELD(reward_labels),
      TT_FIELD(alignment_fit_ranker),
  };
  return list;
}
#undef TT_FIELD

std::string to_json(const ModelConfig& config) {
  nlohmann::ordered_json out;
  for (const auto& field : model_fields())
    std::visit([&](auto member) { out[field.key] = config.*member; }, field.member);
  return out.dump();
}

ModelConfig model_config_from_json(const std::string& json, const std::string& where) {
  const auto object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  check(object.is_object(), where, "the model's config is no JSON object; make the file anew");
  ModelConfig config;
  const auto& fields = model_fields();
  for (const auto& [key, value] : object.items()) {
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return key == f.key; });
    check(field != fields.end(), where, "the model's config has the unknown key \"", key,
          "\"; it was made by another version of twotower: make it anew with this one");
    try {
      std::visit([&, &from = value](auto member) { from.get_to(config.*member); }, field->member);
    } catch (const nlohmann::json::exception&) {
      fail(where, "the model's config has ", value.dump(), " for \"", key, "\"; make the file anew");
    }
  }
  config.validate();
  return config;
}

}  // namespace tt
