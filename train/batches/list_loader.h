#pragma once
// Lists for training: each user's logged items with the main ranker's scores and the labels, pairs that it was asked
// about, and for alignment items of the whole corpus: some of the policy's own best, and some drawn uniformly. A
// function of the seed and the pass alone.
//
// A list is a user with up to `impressions` of its impressions, as of the moment of one of them, another one in each
// pass: so the user's vector is learnt with the histories of all of them at the cost of one. A pass has one list of
// each user, later ones more often than earlier ones if asked for: where interests move, what a ranker said long ago is
// of another user. Pairs that the ranker was asked about are on their user's last list, as of the end of the training
// log.

#include <twotower/models/list_batch.h>
#include <twotower/models/two_tower.h>
#include <twotower/train/batches/options.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/ranker_pairs.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace tt {

struct ListOptions {
  Split split = Split::train;
  int64_t users = 100;              // rows a batch
  int64_t impressions = 0;          // a list's, in time order; 0: all of the user's
  int64_t policy = 0, uniform = 0;  // items a list of the policy's best and of uniform draws, beside the logged ones
  double recency = 1;               // a user's k-th list from the last comes recency^k times as often as the last one
  uint64_t seed = 1;
};

// Those of a config, without items drawn from the corpus. list_impressions = 0 stands for all of a user's, or for few
// enough to be of one time where time matters; list_recency = 0, where nobody found it out, counts as 1.
ListOptions list_options(const BatchOptions& options);

class ListLoader {
 public:
  // examination: of each impression of the split [N], or empty. The dataset must outlive it.
  ListLoader(const Dataset& data, const ModelConfig& model, const ListOptions& options, RankerPairs pairs,
             std::vector<float> examination = {});

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  int64_t batches() const { return (rows_a_pass() + options_.users - 1) / options_.users; }  // a pass

  void start_pass(int64_t pass);
  // The next batch, or null at the end of the pass. It is valid until the next call; its values are the caller's to
  // add.
  const ListBatch<float>* next();

  // From now on lists hold items on offer, too: the best of this policy as it is now for each row's user, and
  // others by chance. learnt: [C] items whose ids mean something.
  void draw_from(const TwoTower<float>& policy, const std::vector<uint8_t>& learnt);

 private:
  struct Row {
    int32_t user;
    int64_t begin, end;  // of its entries
  };
  void add_lists();
  void add_row(int32_t user, int64_t begin);
  int32_t item(int64_t entry) const {
    return entry >= 0 ? log_.item[entry] : pairs_.item[static_cast<size_t>(-1 - entry)];
  }
  void close_choice(size_t first);
  int64_t rows_a_pass() const { return static_cast<int64_t>(choices_.size()); }
  int64_t moment(int64_t entry) const;       // how many of the user's actions came before it
  const float* scores(int64_t entry) const;  // [T], or null
  void draw_candidates(int64_t row, std::vector<int32_t>& items, std::vector<float>& log_q);
  void fill(const int64_t* rows, int64_t n);
  void read_items(const std::vector<int32_t>& items);
  void read_entries(const std::vector<int64_t>& entries);
  void read_users(const int64_t* rows, const int64_t* moments, int64_t n, Arena& arena, UserInputs<float>& users) const;

  const Dataset& data_;
  const Impressions& log_;
  ModelConfig model_;
  ListOptions options_;
  RankerPairs pairs_;
  std::vector<float> examination_;
  std::vector<Row> rows_;
  std::vector<int64_t> entries_;      // of all rows: an impression's row of the log, or -1 - p for pair p
  std::vector<int64_t> last_moment_;  // [U] the end of the training log
  std::vector<int32_t> best_;         // [rows, policy] of draw_from(), -1 where there are fewer; empty before

  std::vector<double> likely_;    // [rows] how likely a row is in a pass
  std::vector<int64_t> choices_;  // a pass has one row of each: where in rows_ it ends
  std::vector<int64_t> order_;    // of this pass
  int64_t pass_ = 0, next_ = 0;
  Arena arena_;
  ListBatch<float> batch_;
  std::vector<uint8_t> listed_;     // [C] scratch of draw_candidates(): 1 where an item is not on offer
  std::vector<int32_t> column_of_;  // [C] of the batch that is being made, else -1
};

}  // namespace tt
