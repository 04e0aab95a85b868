#pragma once
// A dataset's users as a recommender serves them: what evaluation measures is what is served.

#include <twotower/models/retrieval/recommender.h>
#include <twotower/train/batches/training_rows.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/user_moment.h>

#include <memory>
#include <span>
#include <vector>

namespace tt {

// A user with all actions that the dataset has.
UserMoment latest_moment(const Dataset& data, int64_t user);

// Items each user was shown in any split.
UserItems seen_in_all(const Dataset& data);

class ServedDataset {
 public:
  // A bundle on the data it was made of; both must outlive this. Throws Error for other data, whose rows would mean
  // other users and items.
  ServedDataset(const Bundle& bundle, const Dataset& data);
  // A model in memory, as it is now. Error for data that it does not fit.
  ServedDataset(const TwoTower<float>& model, const Dataset& data, LearntRows learnt);
  ServedDataset(const TwoTower<float>& model, const Dataset& data, const BatchOptions& train = {})
      : ServedDataset(model, data, learnt_rows(data, model.config(), train)) {}

  // Encodes all items again: after the model in memory has changed.
  void refresh() { serve(model()); }

  const Recommender& recommender() const { return *recommender_; }
  const TwoTower<float>& model() const { return recommender_->model(); }
  const Dataset& data() const { return data_; }
  Tensor<const float> item_vectors() const { return recommender_->catalog().base_vectors(); }  // [C, DI]
  bool has_light_ranker() const { return recommender_->has_light_ranker(); }

  // seen: items to leave out, by user row; null leaves none out. Error for users and history ends that the dataset does
  // not have.
  ServedUser user(const UserMoment& moment, const UserItems* seen = nullptr) const;
  // As Recommender::recommend.
  void top(Session& session, std::span<const UserMoment> users, const Ask& ask, const UserItems* seen,
           TopItems& out) const;
  void encode(Session& session, std::span<const UserMoment> users, float* out) const;  // [users, DI]

 private:
  void serve(const TwoTower<float>& model);

  const Dataset& data_;
  LearntRows learnt_;  // of a model in memory
  std::span<const uint8_t> learnt_users_;
  std::vector<float> vectors_;  // of a model in memory: [C, DI]
  std::unique_ptr<Recommender> recommender_;
};

}  // namespace tt
