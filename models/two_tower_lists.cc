// What a model learns from lists of items (list_batch.h).

#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/losses/list_losses.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/models/two_tower.h>

#include <cmath>

namespace tt {
namespace {

// Winners of dpo: a row's entries of highest value, each against all below it.
constexpr int64_t kWinners = 8;

}  // namespace

template <class T>
ListLossOutput<T> TwoTower<T>::list_loss(Tape<T>& tape, const ListBatch<T>& batch, bool alignment_on) const {
  check(config_.needs_lists(), "model",
        "this model learns nothing from lists; set distill_towers, or alignment with reward = \"model\"");
  const int64_t n = batch.lists.columns.numel(), tasks = config_.num_tasks();
  const Tensor<const T> scored = batch.ranker_scores;
  check(scored.numel() == 0 || scored.shape() == Shape{n, tasks}, "model", "the lists' ranker_scores have shape ",
        scored.shape(), "; user_value_weights ask for [", n, ", ", tasks, "]");
  ListLossOutput<T> out;
  const auto add_part = [&](Variable<T> part) {
    if (part) out.total = out.total ? add(out.total, part) : part;
  };
  const Blocks<T> user_input = user_tower_.input(tape, batch.user);
  const Variable<T> u = user_tower_.vectors(tape, user_input), v = item_tower_(tape, batch.item);
  const Variable<T> scores = divide(list_scores(u, v, batch.lists), tau(tape));
  if (distillation_)
    add_part(out.towers =
                 scale(distillation_->loss(tape, u, scores, batch), static_cast<T>(config_.distill_towers_weight)));
  if (light_ranker_ && config_.distill && scored.numel() > 0)
    add_part(out.ranker = list_ranker_loss(tape, batch, user_input, u, v));
  if (alignment_on && config_.aligns_with_model() && config_.alignment_weight > 0)
    add_part(out.alignment =
                 scale(list_alignment(tape, batch, scores, &out.reward), static_cast<T>(config_.alignment_weight)));
  if (!out.total) out.total = tape.scalar(T(0));  // nothing is asked of this step: a constant
  return out;
}

template <class T>
Variable<T> TwoTower<T>::list_alignment(Tape<T>& tape, const ListBatch<T>& batch, Variable<T> scores, T* reward) const {
  const int64_t n = scores.numel();
  const Tensor<const int64_t> offsets = batch.lists.offsets;
  check(batch.value.numel() == n, "alignment", "the lists have ", batch.value.numel(), " values for ", n,
        " entries; let a reward model fill them");
  *reward = -list_reward(tape.constant(scores.value()), offsets, batch.value, Tensor<const T>(scores.value()),
                         batch.log_q, T(0))
                 .item();
  const Tensor<T> value = tape.make({n});
  for (int64_t k = 0; k < n; ++k) value[k] = batch.value[k] / static_cast<T>(config_.reward_temperature());
  if (config_.alignment == "kl") return list_kl(scores, offsets, Tensor<const T>(value), batch.log_q);
  Tensor<const T> anchor = scores.value();
  if (anchor_) {
    const NoGrad frozen(tape);
    const Variable<T> u0 = anchor_->user_tower.vectors(tape, anchor_->user_tower.input(tape, batch.user));
    const Variable<T> s0 = list_scores(u0, anchor_->item_tower(tape, batch.item), batch.lists);
    const T tau0 = anchor_->log_temperature ? std::exp(anchor_->log_temperature->value[0]) : temperature();
    anchor = scale(s0, 1 / tau0).value();
  }
  const T beta = static_cast<T>(config_.alignment_beta);
  if (config_.alignment == "expected_reward")
    return list_reward(scores, offsets, Tensor<const T>(value), anchor, batch.log_q, beta);
  return list_dpo(scores, offsets, Tensor<const T>(value), anchor, beta, kWinners);
}

// The light ranker's view of the ranker's scores, on all entries that have them.
template <class T>
Variable<T> TwoTower<T>::list_ranker_loss(Tape<T>& tape, const ListBatch<T>& batch, const Blocks<T>& user_input,
                                          Variable<T> u, Variable<T> v) const {
  Arena& arena = tape.arena();
  const int64_t n = batch.lists.columns.numel(), tasks = config_.num_tasks();
  const Tensor<const int64_t> row_of = row_of_entries(batch.lists, arena);
  const Tensor<int64_t> rows = make_tensor<int64_t>(arena, {n}), columns = make_tensor<int64_t>(arena, {n});
  const Tensor<T> scores = make_tensor<T>(arena, {n, tasks});
  int64_t known = 0;
  for (int64_t k = 0; k < n; ++k) {
    if (std::isnan(batch.ranker_scores.row(k)[0])) continue;
    rows[known] = row_of[k], columns[known] = batch.lists.columns[k];
    std::copy_n(batch.ranker_scores.row(k), tasks, scores.row(known++));
  }
  if (known == 0) return {};
  const Tensor<const int64_t> row{rows.data(), {known}}, column{columns.data(), {known}};
  const Variable<T> logits = light_ranker_->logits(tape, embedding(light_ranker_->user_vectors(tape, user_input), row),
                                                   embedding(u, row), embedding(v, column));
  return light_ranker_->distillation(logits, {scores.data(), {known, tasks}});
}

#define TT_INSTANTIATE(T)                                                                                          \
  template ListLossOutput<T> TwoTower<T>::list_loss(Tape<T>&, const ListBatch<T>&, bool) const;                    \
  template Variable<T> TwoTower<T>::list_alignment(Tape<T>&, const ListBatch<T>&, Variable<T>, T*) const;          \
  template Variable<T> TwoTower<T>::list_ranker_loss(Tape<T>&, const ListBatch<T>&, const Blocks<T>&, Variable<T>, \
                                                     Variable<T>) const;
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
