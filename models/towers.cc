#include "models/towers.h"

#include <cmath>

#include "autograd/ops/embedding.h"
#include "autograd/ops/reduce.h"

namespace tt {
namespace {

// The layer that makes a tower's blocks, the id embedding first, into its vector.
template <class T>
Linear<T> tower_head(ParameterSet<T>& parameters, const std::string& name, int64_t in, const ModelConfig& config) {
  const int64_t out = config.item_id_embedding_dim;
  if (config.head_init == "uniform") return Linear<T>(parameters, name, in, out);
  return Linear<T>(parameters, name, in, out, Initializer::identity(1 / std::sqrt(static_cast<double>(in))),
                   Initializer::constant(0));
}

}  // namespace

template <class T>
ItemTower<T>::ItemTower(ParameterSet<T>& parameters, const std::string& prefix, const ModelConfig& config)
    : normalize_(config.normalize) {
  const int64_t d = config.item_id_embedding_dim;
  table_ = parameters.add_table(prefix + "item_id_embedding_arch.weight", {config.item_id_hash_size, d},
                                Initializer::normal(config.embedding_init));
  if (config.item_features_size > 0)
    features_.emplace(parameters, prefix + "item_features_arch", config.item_features_size, config.hidden_size, d);
  head_ = tower_head<T>(parameters, prefix + "item_tower_arch", features_ ? 2 * d : d, config);
}

template <class T>
Variable<T> ItemTower<T>::operator()(Tape<T>& tape, const ItemInputs<T>& items) const {
  Blocks<T> input;
  input.push_back(embedding(tape.parameter(*table_), items.id));
  if (features_) input.push_back((*features_)(tape, tape.constant(items.features)));
  const Variable<T> v = head_(tape, input);
  return normalize_ ? l2_normalize(v) : v;
}

template <class T>
UserTower<T>::UserTower(ParameterSet<T>& parameters, const std::string& prefix, const ModelConfig& config,
                        Parameter<T>* item_table)
    : normalize_(config.normalize) {
  const int64_t d = config.user_id_embedding_dim;
  table_ = parameters.add_table(prefix + "user_id_embedding_arch.weight", {config.user_id_hash_size, d},
                                Initializer::normal(config.embedding_init));
  input_width_ = d;
  if (config.user_features_size > 0) {
    features_.emplace(parameters, prefix + "user_features_arch", config.user_features_size, config.hidden_size, d);
    input_width_ += d;
  }
  if (config.history) {
    history_.emplace(parameters, prefix + "user_history_encoder", config, item_table);
    input_width_ += 2 * config.item_id_embedding_dim;
  }
  head_ = tower_head<T>(parameters, prefix + "user_tower_arch", input_width_, config);
}

template <class T>
Blocks<T> UserTower<T>::input(Tape<T>& tape, const UserInputs<T>& users) const {
  Blocks<T> blocks;
  blocks.push_back(embedding(tape.parameter(*table_), users.id));
  if (features_) blocks.push_back((*features_)(tape, tape.constant(users.features)));
  if (history_) {
    const auto [attended, mean] = (*history_)(tape, users);
    blocks.push_back(attended);
    blocks.push_back(mean);
  }
  return blocks;
}

template <class T>
Variable<T> UserTower<T>::vectors(Tape<T>& tape, const Blocks<T>& input) const {
  const Variable<T> u = head_(tape, input);
  return normalize_ ? l2_normalize(u) : u;
}

template class ItemTower<float>;
template class ItemTower<double>;
template class UserTower<float>;
template class UserTower<double>;

}  // namespace tt
