#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/sequences/segments.h>
#include <twotower/layers/positional_encoding.h>
#include <twotower/models/history_encoder.h>

namespace tt {

template <class T>
HistoryEncoder<T>::HistoryEncoder(ParameterSet<T>& parameters, const std::string& name, const ModelConfig& config,
                                  Parameter<T>* item_table)
    : item_table_(item_table), action_kinds_(config.history_actions) {
  const int64_t d = config.item_id_embedding_dim;
  const int64_t distances = config.causal ? config.user_history_seqlen : 0;
  if (!config.causal)
    positional_ = positional_encoding<T>(
        pool_, config.user_history_seqlen, d,
        config.positional_encoding == "doubled" ? PositionalFormula::doubled : PositionalFormula::standard);
  if (action_kinds_ > 0) {
    fuse_ = Linear<T>(parameters, name + ".fuse", 2 * d, d);
    action_table_ = parameters.add(name + ".action_embedding.weight", {action_kinds_, d},
                                   Initializer::normal(config.embedding_init));
  }
  for (int64_t layer = 0; layer < config.attention_layers; ++layer) {
    if (config.transformer_blocks)
      blocks_.emplace_back(parameters, name + ".blocks." + std::to_string(layer), d, config.attention_heads, distances);
    else
      attention_.emplace_back(parameters, name + ".multihead_attn_layers." + std::to_string(layer), d,
                              config.attention_heads, distances);
  }
}

template <class T>
Variable<T> HistoryEncoder<T>::items(Tape<T>& tape, const UserInputs<T>& users) const {
  Variable<T> item = embedding(tape.parameter(*item_table_), users.history_items);
  if (users.history_dropout.numel() > 0) item = multiply(item, tape.constant(users.history_dropout));
  if (action_kinds_ == 0) return item;
  const int64_t n = item.rows();
  check(users.history_actions.numel() == n * action_kinds_, "history", "history_actions has shape ",
        users.history_actions.shape(), "; the model expects [", n, ", ", action_kinds_, "]");
  const Tensor<T> flags = tape.make({n, action_kinds_});
  for (int64_t i = 0; i < flags.numel(); ++i) flags[i] = static_cast<T>(users.history_actions[i]);
  const Variable<T> actions = matmul(tape.constant(flags), tape.parameter(*action_table_));
  return fuse_(tape, {item, actions});
}

template <class T>
auto HistoryEncoder<T>::operator()(Tape<T>& tape, const UserInputs<T>& users) const -> Output {
  const Tensor<const int64_t> offsets = users.history_offsets;
  const Variable<T> item = items(tape, users);
  Variable<T> x = positional_ ? add_positional(item, offsets, Tensor<const T>(positional_)) : item;
  if (users.moment_row.numel() > 0) {
    check(!positional_, "history", "moments of a history are asked for, which only a causal encoder knows");
    for (const auto& layer : attention_) x = layer(tape, x, offsets);
    for (const auto& block : blocks_) x = block(tape, x, offsets);
    return {embedding(x, users.moment_row), embedding(prefix_mean(item, offsets), users.moment_row)};
  }
  const Variable<T> mean = segment_mean(item, offsets);
  for (size_t l = 0; l + 1 < attention_.size(); ++l) x = attention_[l](tape, x, offsets);
  for (size_t l = 0; l + 1 < blocks_.size(); ++l) x = blocks_[l](tape, x, offsets);
  // Nothing but the newest row of the last layer is read, so nothing else of it is computed.
  const Variable<T> newest = !blocks_.empty()      ? blocks_.back().newest(tape, x, offsets)
                             : !attention_.empty() ? attention_.back().newest(tape, x, offsets)
                                                   : segment_first(x, offsets);
  return {zero_if_empty(newest, offsets), mean};
}

template <class T>
auto HistoryEncoder<T>::reference(Tape<T>& tape, const UserInputs<T>& users) const -> Output {
  const Tensor<const int64_t> offsets = users.history_offsets;
  const Variable<T> item = items(tape, users);
  Variable<T> x = positional_ ? add_positional(item, offsets, Tensor<const T>(positional_)) : item;
  for (const auto& layer : attention_) x = layer.reference(tape, x, offsets);
  for (const auto& block : blocks_) x = block(tape, x, offsets);
  return {segment_first(x, offsets), segment_mean(item, offsets)};
}

template class HistoryEncoder<float>;
template class HistoryEncoder<double>;

}  // namespace tt
