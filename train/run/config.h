#pragma once
// How a model is trained: the [train] table of a config file, every field a key under the same name. And a whole run's
// config: [model], [train] and where the data is.

#include <twotower/models/config.h>
#include <twotower/train/batches/options.h>

#include <string>

namespace tt {

struct TrainConfig : BatchOptions {
  TrainConfig() = default;  // GCC 12 takes {} of an aggregate with a base for uninitialised

  int64_t epochs = 20;

  std::string optimizer = "adam";  // "adagrad"; both touch only the rows of a table that the batch looked up
  double learning_rate = 1e-3;
  double user_table_rate = 1;  // the users' id table learns at so many times the rate: its rows are visited rarely
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0;     // decoupled; on touched rows only
  int64_t warmup_steps = 0;    // the learning rate rises linearly over so many steps
  std::string decay = "none";  // "linear" | "cosine": to zero at the last step
  double clip_norm = 0;        // > 0: the gradient's length is scaled down to at most this
  double ema = 0;              // > 0: what is evaluated and saved is the moving average of the weights, each step
                               // weighing so much times what the one after it weighs

  // The validation measure that picks the best epoch; "auto": for a model that learns from lists logged_pairs, or
  // without logged scores label_pairs; ips_recall@20 for one that debiases by position; recall@20 for the others.
  std::string monitor = "auto";
  int64_t patience = 5;        // stop after so many epochs without a better one; 0: never
  int64_t evaluate_every = 1;  // epochs

  int64_t list_passes = 10;            // passes over all lists within an epoch, between the impressions' batches
  int64_t reward_passes = 100;         // passes over all lists that train the reward model, before the first epoch
  double reward_weight_decay = -1;     // of the reward model's parameters; -1: found out (reward.h)
  int64_t alignment_start_epoch = -1;  // epochs before the alignment move starts; the anchor is frozen then. -1: 0 for
                                       // "kl" with a reward model, which needs no trained policy to begin with, else 3

  void validate() const;
};

struct RunConfig {
  std::string data;                 // the dataset folder
  std::string rung;                 // the ladder's name for the model, for people
  std::string data_rows, data_log;  // its fingerprints (train/data/fingerprint.h), set when training starts
  std::string ranker_pairs;  // of the run's copy of the pairs given beside the data (pairs_fingerprint), "" if none
  ModelConfig model;
  TrainConfig train;
};

// A model of the ladder (models/config.h), with the training that suits it: those that learn from lists take large
// steps that shrink to nothing, over many passes over the lists and few over the impressions.
void apply_rung(RunConfig& config, const std::string& rung);

// A file whose [model] table is read and validated; other tables are ignored.
ModelConfig load_model_config(const std::string& path);
// Reads [model], [train] and [run] on top of `config`; unknown tables and keys throw Error with the nearest known.
void read_config_file(const std::string& path, RunConfig& config);
// "model.key=value" or "train.key=value"; a bare key is looked for in both.
void set_config_key(RunConfig& config, const std::string& assignment);
std::string to_toml(const RunConfig& config);
std::string to_toml(const ModelConfig& config);  // the [model] table

}  // namespace tt
