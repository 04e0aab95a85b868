#pragma once
// A reward model: what the main ranker would say of any pair, learnt from what it did say. It has towers of its own,
// narrower than the policy's, over ids, features and history, and a view of them for each task:
//
//   logit_t(u, i) = (g_t * u + c_t) . v + a_t . u + e_t        g_t, c_t, a_t [D], e_t [1]; * element by element
//
// Tasks share tastes and weigh them differently (g_t); c_t . v is a task's item bias and a_t . u its user bias. It is
// trained before the policy is aligned with it, and frozen then, so that the policy cannot move it.

#include <twotower/models/list_batch.h>
#include <twotower/models/towers.h>

#include <memory>
#include <string>

namespace tt {

template <class T>
class RewardModel {
 public:
  // Of a policy with this config: the same ids, features, history and tasks. Parameters are called PREFIX.NAME.
  RewardModel(const ModelConfig& policy, const std::string& prefix, uint64_t seed);

  // What the listed pairs lose: squared error of the logits against those of the ranker's scores, mean over rows and
  // tasks; where the ranker said nothing, the binary cross-entropy with the labels, under examination. That also where
  // it did speak, label_weight times.
  Variable<T> fit_loss(Tape<T>& tape, const ListBatch<T>& batch, double label_weight) const;

  // For pairs without a tape: item vectors [C, width()], and of users all that their logits need, [B, user_width()].
  Variable<T> items(Tape<T>& tape, const ItemInputs<T>& items) const { return item_tower_(tape, items); }
  Variable<T> users(Tape<T>& tape, const UserInputs<T>& users) const;
  // The probabilities [T] of a pair of these.
  void probabilities(const T* user, const T* item, T* out) const;

  int64_t width() const { return config_.item_id_embedding_dim; }
  int64_t user_width() const { return config_.num_tasks() * (width() + 1); }
  const ModelConfig& config() const { return config_; }
  ParameterSet<T>& parameters() const { return *parameters_; }

 private:
  struct View {                  // of one task
    Variable<T> vectors, level;  // [B, D], [B, 1]
  };
  View view(Tape<T>& tape, Variable<T> u, int64_t task) const;

  ModelConfig config_;
  std::unique_ptr<ParameterSet<T>> parameters_;
  ItemTower<T> item_tower_;
  UserTower<T> user_tower_;
  Parameter<T>*gate_, *item_weight_, *user_weight_, *bias_;  // g, c, a [T, D], e [T]
};

}  // namespace tt
