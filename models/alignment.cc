#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/losses/cross_entropy.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/models/alignment.h>
#include <twotower/models/debias.h>

#include <cmath>

namespace tt {

template <class T>
Alignment<T>::Alignment(ParameterSet<T>& parameters, const ModelConfig& config)
    : config_(config),
      simple_ranker_(parameters, "simple_ranker", 2 * config.item_id_embedding_dim + 1, config.num_tasks()) {
  // A trained u.v is already the log of a pair's value, up to the user: the proxy begins as that, and learns
  // what the ranker sees beyond it. From a small random weight it would need a thousand steps to get there,
  // and until then would pull retrieval towards scores that are nearly the same for all users. It must also
  // follow u and v faster than they move towards it, or the two chase each other away from the data.
  if (config.compat != "default") return;
  for (int64_t t = 0; t < config.num_tasks() && !parameters.given(); ++t)
    simple_ranker_.weight->value.row(t)[2 * config.item_id_embedding_dim] = T(1);
}

template <class T>
Variable<T> Alignment<T>::fit_loss(Tape<T>& tape, Variable<T> u, Variable<T> v, const Batch<T>& batch,
                                   Tensor<const T> examination) const {
  const Variable<T> u0 = detach(u), v0 = detach(v);
  const Variable<T> logits = simple_ranker_(tape, {u0, v0, row_dot(u0, v0)});
  const Variable<T> loss = label_loss(logits, batch.labels, examination);
  if (!config_.alignment_fit_ranker || batch.ranker_scores.numel() == 0) return loss;
  return add(loss, bce_with_logits(logits, batch.ranker_scores));
}

template <class T>
PairValue<T> Alignment<T>::pair_value(Arena& arena, Tensor<const T> v, const Exclusions& exclude) const {
  const int64_t m = v.rows(), d = v.cols();
  // sum_t w_t W_t / tau_r, for the item block and for the dot product
  const Tensor<T> item_weight = make_tensor<T>(arena, {d}), column = make_tensor<T>(arena, {m});
  item_weight.fill(T(0));
  T dot_weight = 0;
  const std::vector<double>& weights = config_.user_value_weights;
  for (int64_t t = 0; t < config_.num_tasks(); ++t) {
    const T w = static_cast<T>(weights[static_cast<size_t>(t)] / config_.reward_temperature());
    const T* row = simple_ranker_.weight->value.row(t);
    for (int64_t j = 0; j < d; ++j) item_weight[j] += w * row[d + j];
    dot_weight += w * row[2 * d];
  }
  for (int64_t i = 0; i < m; ++i) {
    column[i] = 0;
    for (int64_t j = 0; j < d; ++j) column[i] += item_weight[j] * v.row(i)[j];
  }
  return {column, dot_weight, exclude};
}

template <class T>
Variable<T> Alignment<T>::align_loss(Tape<T>& tape, Variable<T> u, Variable<T> v, Variable<T> tau,
                                     const Exclusions& exclude, const Anchor<T>* anchor) const {
  const PairValue<T> value = pair_value(tape.arena(), v.value(), exclude);
  if (config_.alignment == "kl") return alignment_kl(u, v, tau, value);
  check(anchor != nullptr, "alignment", config_.alignment, " needs a frozen copy of the towers");
  const T beta = static_cast<T>(config_.alignment_beta);
  if (config_.alignment == "expected_reward") return alignment_reward(u, v, tau, value, *anchor, beta);
  return alignment_dpo(u, v, tau, value, *anchor, beta);
}

template <class T>
T Alignment<T>::expected_value(Tape<T>& tape, Tensor<const T> u, Tensor<const T> v, T tau) const {
  const PairValue<T> value = pair_value(tape.arena(), v, {});
  // with the policy as its own anchor the divergence is zero and what remains is minus the expected value
  const Anchor<T> anchor{u, v, tau};
  return -alignment_reward(tape.constant(u), tape.constant(v), tape.scalar(tau), value, anchor, T(0)).item();
}

template class Alignment<float>;
template class Alignment<double>;

}  // namespace tt
