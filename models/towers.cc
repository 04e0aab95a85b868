#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/rows/normalize.h>
#include <twotower/models/towers.h>

namespace tt {
namespace {

// A tower's vector from its blocks: through the head, or their sum in a tower without one.
template <class T>
Variable<T> combine(Tape<T>& tape, const Blocks<T>& blocks, const std::optional<Linear<T>>& head) {
  if (head) return (*head)(tape, blocks);
  Variable<T> sum = blocks.data()[0];
  for (int i = 1; i < blocks.size(); ++i) sum = add(sum, blocks.data()[i]);
  return sum;
}

template <class T>
void check_features(const char* tower, Tensor<const T> features, int64_t rows, int64_t width) {
  check(features.shape() == Shape{rows, width}, tower, "the features have shape ", features.shape(),
        "; the model reads [", rows, ", ", width, "]");
}

// Offsets that lead outside the items would be followed.
template <class T>
void check_history(const UserInputs<T>& users) {
  const Tensor<const int64_t> offsets = users.history_offsets;
  const int64_t b = users.id.numel(), n = users.history_items.numel();
  check(offsets.numel() == b + 1, "user tower", "history_offsets hold ", offsets.numel(), " numbers for ", b,
        " users; there must be one more than users");
  check(offsets[0] == 0 && offsets[b] == n, "user tower", "history_offsets run from ", offsets[0], " to ", offsets[b],
        "; they must run from 0 to the number of history_items, ", n);
  for (int64_t i = 0; i < b; ++i)
    check(offsets[i] <= offsets[i + 1], "user tower", "history_offsets fall from ", offsets[i], " to ", offsets[i + 1],
          " at user ", i, "; they must not fall");
}

template <class T>
void check_moments(const UserInputs<T>& users, bool history) {
  const int64_t m = users.moment_user.numel();
  check(history, "user tower", "moments are asked for, the model reads no history");
  check(users.moment_row.numel() == m, "user tower", "moment_row has ", users.moment_row.numel(), " rows, moment_user ",
        m);
  for (int64_t i = 0; i < m; ++i)
    check(users.moment_user[i] >= 0 && users.moment_user[i] < users.id.numel(), "user tower", "moment ", i,
          " is of user ", users.moment_user[i], " of ", users.id.numel());
}

}  // namespace

template <class T>
ItemTower<T>::ItemTower(ParameterSet<T>& parameters, const std::string& prefix, const ModelConfig& config)
    : normalize_(config.normalize), features_width_(config.item_features_size) {
  const int64_t d = config.item_id_embedding_dim;
  table_ = parameters.add(prefix + "item_id_embedding_arch.weight", {config.item_id_hash_size, d},
                          Initializer::normal(config.embedding_init));
  if (config.item_features_size > 0)
    features_.emplace(parameters, prefix + "item_features_arch",
                      std::vector<int64_t>{config.item_features_size, config.hidden_size, d});
  if (config.tower_head == "linear") head_.emplace(parameters, prefix + "item_tower_arch", features_ ? 2 * d : d, d);
}

template <class T>
Variable<T> ItemTower<T>::operator()(Tape<T>& tape, const ItemInputs<T>& items) const {
  Blocks<T> input;
  input.push_back(embedding(tape.parameter(*table_), items.id));
  if (features_) {
    check_features("item tower", items.features, items.id.numel(), features_width_);
    input.push_back((*features_)(tape, tape.constant(items.features)));
  }
  const Variable<T> v = combine(tape, input, head_);
  return normalize_ ? l2_normalize(v) : v;
}

template <class T>
UserTower<T>::UserTower(ParameterSet<T>& parameters, const std::string& prefix, const ModelConfig& config,
                        Parameter<T>* item_table)
    : normalize_(config.normalize), features_width_(config.user_features_size) {
  const int64_t d = config.user_id_embedding_dim;
  table_ = parameters.add(prefix + "user_id_embedding_arch.weight", {config.user_id_hash_size, d},
                          Initializer::normal(config.embedding_init));
  input_width_ = d;
  if (config.user_features_size > 0) {
    features_.emplace(parameters, prefix + "user_features_arch",
                      std::vector<int64_t>{config.user_features_size, config.hidden_size, d});
    input_width_ += d;
  }
  if (config.history) {
    history_.emplace(parameters, prefix + "user_history_encoder", config, item_table);
    input_width_ += 2 * config.item_id_embedding_dim;
  }
  if (config.tower_head == "linear")
    head_.emplace(parameters, prefix + "user_tower_arch", input_width_, config.item_id_embedding_dim);
}

template <class T>
Blocks<T> UserTower<T>::input(Tape<T>& tape, const UserInputs<T>& users) const {
  const bool moments = users.moment_user.numel() > 0;
  if (moments) check_moments(users, history_.has_value());
  const auto of_moments = [&](Variable<T> of_users) {
    return moments ? embedding(of_users, users.moment_user) : of_users;
  };
  Blocks<T> blocks;
  Variable<T> id = embedding(tape.parameter(*table_), users.id);
  if (users.id_dropout.numel() > 0) id = multiply(id, tape.constant(users.id_dropout));
  blocks.push_back(of_moments(id));
  if (features_) {
    check_features("user tower", users.features, users.id.numel(), features_width_);
    blocks.push_back(of_moments((*features_)(tape, tape.constant(users.features))));
  }
  if (history_) {
    check_history(users);
    const auto [attended, mean] = (*history_)(tape, users);
    blocks.push_back(attended);
    blocks.push_back(mean);
  }
  return blocks;
}

template <class T>
Variable<T> UserTower<T>::vectors(Tape<T>& tape, const Blocks<T>& input) const {
  const Variable<T> u = combine(tape, input, head_);
  return normalize_ ? l2_normalize(u) : u;
}

template class ItemTower<float>;
template class ItemTower<double>;
template class UserTower<float>;
template class UserTower<double>;

}  // namespace tt
