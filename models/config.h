#pragma once
// What a model is. Every field is a key under the same name: of the [model] table of a config file (train/run/config.h)
// and of the JSON object that travels in a bundle.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace tt {

// Learning rate of the small estimators beside the towers (examination curve, proxy ranker), relative to the rest.
inline constexpr double kEstimatorRate = 10;

struct ModelConfig {
  // Tables and features. A hash size is the number of rows of an embedding table.
  int64_t user_id_hash_size = 0, item_id_hash_size = 0;
  int64_t user_id_embedding_dim = 64, item_id_embedding_dim = 64;  // DU, DI
  int64_t user_features_size = 0, item_features_size = 0;          // IU, II; 0: no features, and no layers for them
  int64_t hidden_size = 256;                                       // of the feature MLPs
  double embedding_init = 0.1;                                     // standard deviation of the id embeddings
  std::string tower_head = "linear";                               // over a tower's blocks; "sum": they are added up
  std::vector<double> user_value_weights = {1.0};                  // w [T]: labels -> net user value
  int64_t num_items = 100;                                         // K that retrieval returns
  std::string compat = "default";                                  // "reference": every [reference] rule at once

  // Scores.
  bool normalize = false;    // u and v to length 1
  double temperature = 1.0;  // tau
  bool learn_temperature = false;

  // History encoder.
  bool history = false;
  int64_t user_history_seqlen = 50;                   // capacity: only the newest so many items are read
  int64_t attention_heads = 4, attention_layers = 3;  // 0 layers: the newest item and the mean alone
  bool transformer_blocks = false;                    // residual + layer norm + feed-forward around each attention
  std::string positional_encoding = "standard";       // "doubled": [reference]
  bool causal = false;  // an action attends to itself and to older ones, with a learnt bias for each distance instead
                        // of positional encodings: training then reads a sequence once (train.rows = "sequences")
  int64_t history_actions = 0;  // A: kinds of action fused into each history item; 0: none

  // Negatives and their correction.
  std::string log_q = "stream";         // estimated as the data streams by; "counts": from the training data; "none"
  bool log_q_correct_positive = false;  // true: correct the positive's own logit too, as if it had been drawn
  bool mask_accidental_hits = true;
  bool mask_user_positives = false;  // with full_softmax: whatever else the user acted on in training is no negative
  int64_t mixed_negatives = 0;       // N': uniform negatives added to the batch's own
  int64_t negative_queue = 0;        // item vectors of earlier batches kept as negatives
  int64_t hard_negatives = 0;        // > 0: only each row's so many highest negatives
  bool full_softmax = false;         // all items of the corpus as columns: the reference for small corpora

  // Debiasing of the label.
  std::string debias = "none";            // "position" | "user" | "position+user"
  bool debias_gradient = false;           // [reference]: true, gradients flow through the debiased value
  std::string debias_reduction = "mean";  // "sum": [reference]
  double debias_cap = 10;                 // no row weighs more than so many times its batch's median one with value;
                                          // 0: uncapped, [reference]
  std::string position_init = "one";      // "normal": [reference]

  // Light ranker and distillation.
  bool light_ranker = false;
  int64_t num_mips_items = 100, num_ranker_user_embeddings = 4;  // candidates re-ranked; NU
  std::string ranker_value = "probability";  // sum_t w_t sigmoid(logit_t); "logit": without sigmoid, [reference]
  std::string ranker_serves = "labels";      // which logits order the candidates: those that learnt the labels, or with
                                             // "scores" those distilled from the main ranker
  bool ranker_examination = true;  // light and proxy ranker know that a label needs examination; false: [reference]
  bool distill = false;            // the main ranker's scores into the light ranker
  double kd_weight = 1.0;
  std::string distill_towers = "none";  // and into the towers: "points" | "margins" | "lists" (tower_distillation.h)
  double distill_towers_weight = 1;

  // Alignment with the main ranker.
  std::string alignment = "none";    // "kl" | "expected_reward" | "dpo"
  std::string reward = "model";      // what the reward comes from: a frozen reward model with towers of its own, over
                                     // lists of items; "proxy": a small ranker on u and v, in the batch: [reference]
  double alignment_weight = 1;       // lambda
  double alignment_temperature = 0;  // tau_r, which divides values; 0: 1 for a model's log-odds, and for the proxy's
                                     // summed logits the sum of user_value_weights
  double alignment_beta = 0.1;
  int64_t reward_members = 3;        // models of the ensemble; their spread tells where it guesses
  double reward_pessimism = 0.5;     // values are mean - this x spread
  double reward_labels = 0;          // weight of labels beside the ranker's scores; where there are no scores it is 1
  bool alignment_fit_ranker = true;  // fit the proxy ranker to ranker_scores too; false: [reference]

  int64_t num_tasks() const { return static_cast<int64_t>(user_value_weights.size()); }
  bool debias_position() const { return debias == "position" || debias == "position+user"; }
  bool debias_user() const { return debias == "user" || debias == "position+user"; }
  double reward_temperature() const;  // alignment_temperature, or what its 0 stands for
  bool needs_ranker_scores() const { return distill || distill_towers != "none"; }
  bool aligns_with_model() const { return alignment != "none" && reward == "model"; }
  bool aligns_with_proxy() const { return alignment != "none" && reward == "proxy"; }
  bool needs_anchor() const { return alignment == "expected_reward" || alignment == "dpo"; }
  bool needs_lists() const { return distill_towers != "none" || aligns_with_model(); }

  // Sets the options that compat = "reference" stands for.
  void apply_compat();
  // Throws Error for a value that no model can have, naming the key and the mend.
  void validate() const;
};

// The models of the ladder: "base", "history", "position", "user", "debias", "light", "kd", "reward", "aligned", each
// on top of what it builds on. Throws Error for another name.
void apply_rung(ModelConfig& config, const std::string& rung);
const std::vector<std::string>& rung_names();

// The keys of a config struct, in the order in which they are written: what reading and writing it, in any format, goes
// through.
template <class Config>
struct ConfigField {
  const char* key;
  std::variant<int64_t Config::*, double Config::*, bool Config::*, std::string Config::*,
               std::vector<double> Config::*>
      member;
};
const std::vector<ConfigField<ModelConfig>>& model_fields();

// One JSON object with every key.
std::string to_json(const ModelConfig& config);
// Reads it back: every key as it stands (compat sets nothing anew), defaults for keys that it does not have, so that an
// option of a later version does no harm. Throws Error, with `where` first, for unknown keys, values of the wrong type
// and what validate() refuses.
ModelConfig model_config_from_json(const std::string& json, const std::string& where);

}  // namespace tt
