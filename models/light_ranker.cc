#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/losses/cross_entropy.h>
#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/rows/blocks.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/autograd/ops/rows/softmax.h>
#include <twotower/models/debias.h>
#include <twotower/models/light_ranker.h>

#include <cmath>

namespace tt {

template <class T>
LightRanker<T>::LightRanker(ParameterSet<T>& parameters, const ModelConfig& config, int64_t user_input_width)
    : config_(config) {
  const int64_t d = config.item_id_embedding_dim, nu = config.num_ranker_user_embeddings, tasks = config.num_tasks();
  user_tower_ = Linear<T>(parameters, "ranker_user_tower", user_input_width, nu * d);
  head_ = Linear<T>(parameters, "light_ranker", 2 * d + nu + 1, config.distill ? 2 * tasks : tasks);
  // Retrieval's own score is where the ranker begins; from a small random weight on it, most of a run goes
  // into finding it again.
  if (config.compat != "default" || parameters.given()) return;
  for (int64_t t = 0; t < head_.weight->value.rows(); ++t) head_.weight->value.row(t)[2 * d + nu] = T(1);
}

template <class T>
Variable<T> LightRanker<T>::user_vectors(Tape<T>& tape, const Blocks<T>& user_input) const {
  return user_tower_(tape, user_input);
}

template <class T>
Variable<T> LightRanker<T>::logits(Tape<T>& tape, Variable<T> user_vectors, Variable<T> u, Variable<T> v) const {
  const Variable<T> r = block_dot(user_vectors, v);
  const Variable<T> aware = block_combine(softmax_rows(r), user_vectors);
  return head_(tape, {v, aware, r, row_dot(u, v)});
}

template <class T>
auto LightRanker<T>::loss(Variable<T> logits, const Batch<T>& batch, Tensor<const T> examination) const -> Loss {
  const int64_t tasks = config_.num_tasks();
  if (!config_.distill) return {label_loss(logits, batch.labels, examination), {}};
  if (config_.needs_lists() && batch.ranker_scores.numel() == 0)  // the scores are on lists alone
    return {label_loss(slice_columns(logits, 0, tasks), batch.labels, examination), {}};
  check(batch.ranker_scores.numel() == batch.labels.numel(), "distill",
        "the batch has no \"ranker_scores\"; distillation learns from them: give them, or set distill = false");
  return {label_loss(slice_columns(logits, 0, tasks), batch.labels, examination),
          distillation(logits, batch.ranker_scores)};
}

template <class T>
Variable<T> LightRanker<T>::distillation(Variable<T> logits, Tensor<const T> ranker_scores) const {
  const int64_t tasks = config_.num_tasks();
  return scale(bce_with_logits(slice_columns(logits, tasks, 2 * tasks), ranker_scores),
               static_cast<T>(config_.kd_weight));
}

template <class T>
T LightRanker<T>::value(const T* logits) const {
  T total = 0;
  if (config_.ranker_serves == "scores") logits += config_.num_tasks();
  for (int64_t t = 0; t < config_.num_tasks(); ++t) {
    const T w = static_cast<T>(config_.user_value_weights[static_cast<size_t>(t)]);
    total += w * (config_.ranker_value == "logit" ? logits[t] : 1 / (1 + std::exp(-logits[t])));
  }
  return total;
}

template class LightRanker<float>;
template class LightRanker<double>;

}  // namespace tt
