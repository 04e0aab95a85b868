#pragma once
// A dataset folder (docs/formats.md): features once a user and item, a user's actions once in time order, and
// an impression log for each split that points into both. Everything is memory-mapped; a Dataset hands out
// views.

#include <twotower/models/bundle/id_table.h>
#include <twotower/tensor/files/safetensors.h>

#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tt {

enum class Split { train = 0, valid = 1, test = 2 };
std::string_view split_name(Split split);
Split split_from_name(std::string_view name);  // Error for anything but train, valid, test

// Columns of one split; N rows, T tasks. Pointers live as long as the Dataset.
struct Impressions {
  int64_t size = 0;
  const int32_t* user = nullptr;         // [N] user row
  const int32_t* item = nullptr;         // [N] item row
  const int32_t* history_end = nullptr;  // [N] the first history_end actions of the user's list came before
  const int32_t* position = nullptr;     // [N] slot, 0 first, -1 where unknown
  const double* time = nullptr;          // [N] in the unit of the source; compares within the dataset only
  const float* labels = nullptr;         // [N, T] in [0, 1]
  const float* ranker_scores = nullptr;  // [N, T] in [0, 1], or nullptr
};

// Item rows by user, each list sorted and without repeats.
struct UserItems {
  std::vector<int64_t> offsets;  // [U + 1]
  std::vector<int32_t> items;
  std::span<const int32_t> of(int64_t user) const {
    const auto u = static_cast<size_t>(user);
    return {items.data() + offsets[u], static_cast<size_t>(offsets[u + 1] - offsets[u])};
  }
};

class Dataset {
 public:
  // Opens and checks every column once: Error "[dataset D/FILE] ..." for anything that training could trip
  // over.
  static Dataset open(const std::string& dir);

  const std::string& dir() const { return dir_; }
  int64_t num_users() const { return num_users_; }
  int64_t num_items() const { return num_items_; }
  int64_t num_tasks() const { return static_cast<int64_t>(tasks_.size()); }
  int64_t num_actions() const { return static_cast<int64_t>(actions_.size()); }
  const std::vector<std::string>& tasks() const { return tasks_; }
  const std::vector<std::string>& actions() const { return actions_; }        // names of the history flags
  const std::vector<float>& value_weights() const { return value_weights_; }  // [T], a suggestion for the config
  const std::string& protocol() const { return protocol_; }                   // how it was split, in words

  // Final dense matrices (standardised numbers, one-hot and multi-hot columns) with a name for each column.
  int64_t user_features_size() const { return static_cast<int64_t>(user_columns_.size()); }
  int64_t item_features_size() const { return static_cast<int64_t>(item_columns_.size()); }
  const std::vector<std::string>& user_columns() const { return user_columns_; }
  const std::vector<std::string>& item_columns() const { return item_columns_; }
  const float* user_features() const { return user_features_; }  // [U, IU]
  const float* item_features() const { return item_features_; }  // [C, II]

  const Impressions& split(Split s) const { return splits_[static_cast<size_t>(s)]; }  // size 0 when not there
  bool has_positions() const { return has_positions_; }
  std::vector<int64_t> train_actions() const;  // [U] how many of the user's actions are of the train split: the first
  bool has_ranker_scores() const { return has_ranker_scores_; }  // in the train split
  bool has_times() const { return has_times_; }  // the source's own; false: `time` only tells the order of its rows
  // Whether by the source's own times no row of the split is earlier than one of train; false where the source has
  // none.
  bool later_than_train(Split s) const;

  // A user's actions, oldest first: rows offsets[u] .. offsets[u+1]. An impression's history is the first
  // history_end of them, read from the back for newest first.
  const int64_t* history_offsets() const { return history_offsets_; }  // [U + 1]
  const int32_t* history_items() const { return history_items_; }      // [N_actions]
  const uint8_t* history_actions() const { return history_actions_; }  // [N_actions, A]
  const double* history_times() const { return history_times_; }       // [N_actions]
  std::span<const int32_t> user_actions(int64_t user) const;           // all of them, oldest first

  // How often each item was acted on in train (positives.h), and how often it was shown at all.
  const int64_t* train_positives() const { return train_positives_; }  // [C]
  const int64_t* train_counts() const { return train_counts_; }        // [C]

  // Items that may be returned, because they are on offer in the period that is served and evaluated: [C], 0 for those
  // that may not, which are still trained on and read in histories. Null: all may.
  const uint8_t* available() const { return available_; }
  bool available(int64_t item) const { return !available_ || available_[item] != 0; }
  int64_t num_available() const { return num_available_; }

  const IdTable& user_ids() const { return user_ids_; }
  const IdTable& item_ids() const { return item_ids_; }

  // Items each user was shown in the splits before `s` (train for valid; train and valid for test): the
  // "seen" items.
  UserItems seen_before(Split s) const;
  // Items each user acted on (positives.h) in split `s`: the ground truth of the ranking measures.
  UserItems positives(Split s) const;

  const nlohmann::json& info() const { return *info_; }  // dataset.json
  bool has_truth() const;                                // made by `simulate`: see truth.h

 private:
  void read_info();
  void read_side(bool users);
  void read_history();
  void read_split(Split s);

  std::string dir_, protocol_;
  int64_t num_users_ = 0, num_items_ = 0, num_available_ = 0;
  std::vector<std::string> tasks_, actions_, user_columns_, item_columns_;
  std::vector<float> value_weights_;
  SafetensorsFile users_file_, items_file_, history_file_;
  std::array<SafetensorsFile, 3> split_files_;
  std::array<Impressions, 3> splits_;
  const float *user_features_ = nullptr, *item_features_ = nullptr;
  const int64_t *history_offsets_ = nullptr, *train_counts_ = nullptr, *train_positives_ = nullptr;
  const int32_t* history_items_ = nullptr;
  const uint8_t *history_actions_ = nullptr, *available_ = nullptr;
  const double* history_times_ = nullptr;
  bool has_positions_ = false, has_ranker_scores_ = false, has_times_ = false;
  IdTable user_ids_, item_ids_;
  std::shared_ptr<const nlohmann::json> info_;
};

}  // namespace tt
