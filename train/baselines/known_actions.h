#pragma once
// What a baseline may know of a user.

#include <twotower/train/data/dataset.h>
#include <twotower/train/data/user_moment.h>

namespace tt {

// A user's training actions, which a model's ids have learned, and the history as of the moment, which may hold
// validation actions, too: a test is never among them (dataset_writer.h has the rule). They are the first actions of
// the user's list.
class KnownActions {
 public:
  explicit KnownActions(const Dataset& data) : data_(data), train_(data.train_actions()) {}
  int64_t count(const UserMoment& user) const;                             // 0 for a user the dataset does not know
  std::span<const int32_t> of(const UserMoment& user) const;               // their items, oldest first
  std::span<const int32_t> in_train(int64_t user) const;                   // the same of training alone
  static std::vector<int32_t> distinct(std::span<const int32_t> actions);  // their items, ascending, each once

 private:
  const Dataset& data_;
  std::vector<int64_t> train_;
};

}  // namespace tt
