#pragma once
// Serving: every item of the dataset through the trained item tower once, users through the user tower as they come,
// and the K items that fit each user best. Memory does not grow with users x items.

#include <twotower/models/retrieval/exact.h>
#include <twotower/models/two_tower.h>
#include <twotower/train/data/dataset.h>

#include <functional>
#include <span>
#include <vector>

namespace tt {

// A user as of some moment: the first `history_end` actions of the user's list came before it. Row -1 is a user the
// dataset does not know: no id, zero features, no history. Users and items of the dataset whom training never met go
// without an id, too (their row of the table is still what chance made it), but keep their features and history.
struct UserMoment {
  int64_t user = -1;
  int64_t history_end = 0;
};

// A user with all actions that the dataset has.
UserMoment latest_moment(const Dataset& data, int64_t user);

// A user whom the dataset does not know, as features and a history tell it.
struct NewUser {
  std::vector<float> features;   // [IU], encoded as the dataset's own are; empty: zeros
  std::vector<int64_t> history;  // rows of the dataset's items, newest first. With fused actions, each counts as the
                                 // dataset's first action
};

// Items each user was shown in any split.
UserItems seen_in_all(const Dataset& data);

class Retriever {
 public:
  // Both must outlive the retriever. Encodes all items.
  Retriever(const TwoTower<float>& model, const Dataset& data);

  // Encodes all items again: after the model has changed.
  void refresh();

  // Items that the dataset does not have, from features alone: they take the rows from num_items() on and are served
  // beside the others. features: [n, II], encoded as the dataset's own are. Error for a model without item features,
  // to which they would all look the same, and for another width.
  void add_items(std::span<const float> features);
  // Whether only the added items are returned.
  void serve_only_added(bool only);
  int64_t num_items() const { return items_.rows(); }

  // The k best items of each user. With a light ranker: the max(num_mips_items, k) best by inner product, reordered
  // by its values, which are then the scores. `seen`: items to leave out, by user row; null leaves none out. Throws
  // Error for k < 1 and for users and history ends that the dataset does not have.
  void retrieve(std::span<const UserMoment> users, int64_t k, TopItems& out, const UserItems* seen = nullptr);
  // For users whom the dataset does not know; what they have seen is their history.
  void retrieve(std::span<const NewUser> users, int64_t k, TopItems& out, bool include_seen = false);

  // The scores by which retrieve() orders, for given items of one user.
  void score(const UserMoment& user, std::span<const int64_t> items, float* out);

  // 1-based place of the best-placed of each user's relevant items among all items not seen, by inner product; 0 for a
  // user without relevant items. relevant: a list a user, none of it seen. Not with a light ranker, which orders only
  // its candidates.
  void first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen, int64_t* ranks);

  void encode_users(std::span<const UserMoment> users, float* out);  // out: [B, DI]
  Tensor<const float> item_vectors() const { return items_; }        // [num_items(), DI]
  const ExactIndex& index() const { return index_; }
  const TwoTower<float>& model() const { return model_; }
  const Dataset& data() const { return data_; }
  bool has_light_ranker() const { return model_.light_ranker() != nullptr; }

 private:
  void find_learnt();
  UserInputs<float> inputs(std::span<const UserMoment> users);
  UserInputs<float> inputs(std::span<const NewUser> users);
  // One tile: vectors into u [B, DI], and the light ranker's user vectors, if any, into ranker [B, NU * DI].
  template <class User>
  void encode_tile(std::span<const User> users, float* u, float* ranker);
  // skip(user, rows): appends the rows to leave out; null leaves none out.
  template <class User>
  void retrieve_tiles(std::span<const User> users, int64_t k, TopItems& out,
                      const std::function<void(const User&, std::vector<int64_t>&)>& skip);
  void rerank(int64_t users, const float* u, const float* ranker, TopItems& candidates, int64_t k, TopItems& out,
              int64_t first);
  void light_values(int64_t pairs, const int64_t* user_of, const int64_t* item_of, const float* u, const float* ranker,
                    float* values);

  const TwoTower<float>& model_;
  const Dataset& data_;
  Pool pool_;
  Tensor<float> items_;                // [C + added, DI]
  std::vector<float> added_;           // [added, II] features of the added items
  std::vector<uint8_t> learnt_users_;  // [U] whether training has touched the user's embedding
  std::vector<uint8_t> learnt_items_;  // [C] the same for items
  ExactIndex index_;                   // over the rows of items_ from first_ on
  int64_t first_ = 0;
  Arena arena_;
  Tape<float> tape_;
};

}  // namespace tt
