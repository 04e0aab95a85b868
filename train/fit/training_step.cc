#include <twotower/train/fit/training_step.h>

#include <cmath>

namespace tt {

TrainingStep::TrainingStep(TwoTower<float>& model, const TrainConfig& config, NegativeQueue* queue)
    : model_(model), queue_(queue), optimizer_(model.parameters(), config), tape_(arena_) {
  model.parameters().find("user_id_embedding_arch.weight")->learning_rate_scale = config.user_table_rate;
  if (config.ema > 0) average_.emplace(model.parameters(), config.ema);
}

StepLosses TrainingStep::run(const Batch<float>& batch, double learning_rate, bool alignment_on) {
  tape_.reset();
  Batch<float> with_queue = batch;
  if (queue_) with_queue.queue = queue_->with_vectors(batch.queue.id, arena_);
  const LossOutput<float> loss = model_.loss(tape_, with_queue, alignment_on);
  const auto value = [](Variable<float> part) { return part ? static_cast<double>(part.item()) : 0.0; };
  const StepLosses losses{value(loss.total),        value(loss.retrieval), value(loss.debias),   value(loss.ranker),
                          value(loss.distillation), value(loss.proxy),     value(loss.alignment)};
  check(std::isfinite(losses.total), "train", "the loss of step ", optimizer_.steps() + 1, " is ", losses.total,
        "; lower learning_rate, or set clip_norm = 1");
  if (watch_ && model_.alignment())
    expected_value_ = static_cast<double>(
        model_.alignment()->expected_value(tape_, loss.u.value(), loss.v.value(), model_.temperature()));
  tape_.backward(loss.total);
  if (queue_) queue_->give(loss.v.value());
  if (average_) average_->before_step(optimizer_.steps());
  optimizer_.step(learning_rate);
  return losses;
}

}  // namespace tt
