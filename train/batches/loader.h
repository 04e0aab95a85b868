#pragma once
// Makes batches out of a dataset's training impressions: shuffled anew each epoch, with histories, negatives, masks
// and log Q. A thread prepares the next batch while the model trains on this one. The batches are a function of the
// seed and the epoch alone, but for the queue's items, which are those of the batches trained on before.

#include <twotower/models/batch.h>
#include <twotower/train/batches/negative_queue.h>
#include <twotower/train/batches/options.h>
#include <twotower/train/batches/sampling.h>
#include <twotower/train/batches/training_rows.h>
#include <twotower/train/batches/user_rows.h>
#include <twotower/train/data/dataset.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace tt {

// Histories for (user row, history_end) pairs, newest first, at most `capacity` items each; row -1: an empty one.
// Fills the history fields of `users`; memory from the arena.
void gather_histories(const Dataset& data, const ModelConfig& model, const int64_t* user_rows,
                      const int64_t* history_ends, int64_t n, Arena& arena, UserInputs<float>& users);

// Rows of a feature matrix [*, width] by id, zeros for -1.
Tensor<float> gather_features(const float* features, int64_t width, const int64_t* ids, int64_t n, Arena& arena);

class Loader {
 public:
  Loader(const Dataset& data, const ModelConfig& model, const BatchOptions& train);
  ~Loader();

  int64_t batches_per_epoch() const { return batches_; }
  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }  // impressions trained on, or users

  void start_epoch(int64_t epoch);
  // The next batch, or null at the end of the epoch. It is valid until the next call. Of queued items it has the ids;
  // the vectors are the training step's to add (queue()).
  const Batch<float>* next();

  NegativeQueue* queue() { return queue_.get(); }  // null with negative_queue = 0

 private:
  struct Slot {
    Arena arena;
    Batch<float> batch;
    int64_t index = -1;  // of the batch in the epoch; -1: empty
  };
  void fill(Slot& slot, int64_t index);
  void fill_users(Batch<float>& batch, const int64_t* users, int64_t n, Arena& arena);
  Tensor<const int64_t> drop(Tensor<const int64_t> ids, double share, uint64_t purpose, int64_t begin, Arena& arena);
  void add_negatives(Batch<float>& batch, Tensor<const int64_t> users, int64_t index, Arena& arena);
  void add_log_q(Batch<float>& batch, const int64_t* items, Arena& arena);
  void add_dropout(UserInputs<float>& users, int64_t begin, Arena& arena);
  void prefetch();
  void find_windows();
  int64_t window_of(int64_t row) const;
  void find_visits();
  void set_order(int64_t epoch);

  const Dataset& data_;
  ModelConfig model_;
  BatchOptions train_;
  std::vector<int64_t> rows_, order_;          // impressions (or users) that take part; this epoch's order of them
  std::vector<int64_t> visits_, visit_order_;  // where in rows_ each visit begins; this epoch's order of visits
  std::vector<int64_t> last_moment_;           // rows = "sequences": [U] the largest history_end of a user's rows
  std::unique_ptr<UserRows> users_;            // rows = "users"
  std::vector<int64_t> all_items_;             // 0 .. C-1, for full softmax
  UserItems positives_;                        // of each user in training, for mask_user_positives
  std::vector<double> share_;                  // of each item among the rows, for log_q = "counts"
  std::unique_ptr<FrequencyEstimator> estimator_;
  std::unique_ptr<NegativeQueue> queue_;
  int64_t epoch_ = 0, batches_ = 0, next_ = 0;
  int64_t observed_ = 0;  // epochs that the estimator has seen the start of

  Slot slots_[2];
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t wanted_ = -1;  // the batch that the thread shall make next; -1: none
  bool stop_ = false;
  std::exception_ptr failure_;
};

}  // namespace tt
