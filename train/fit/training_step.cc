#include <twotower/train/fit/training_step.h>
#include <twotower/train/optim/adagrad.h>
#include <twotower/train/optim/adam.h>

#include <cmath>

namespace tt {

namespace {

std::unique_ptr<Optimizer<float>> make_optimizer(const TrainConfig& c) {
  if (c.optimizer == "adagrad")
    return std::make_unique<Adagrad<float>>(AdagradOptions{c.learning_rate, c.epsilon, c.weight_decay});
  return std::make_unique<Adam<float>>(AdamOptions{c.learning_rate, c.beta1, c.beta2, c.epsilon, c.weight_decay});
}

double value_of(Variable<float> part) { return part ? static_cast<double>(part.item()) : 0.0; }

}  // namespace

TrainingStep::TrainingStep(TwoTower<float>& model, const TrainConfig& config, NegativeQueue* queue)
    : model_(model), queue_(queue), clip_norm_(config.clip_norm), optimizer_(make_optimizer(config)), tape_(arena_) {
  for (const auto& [parameter, scale] : model.rate_scales()) optimizer_->set_rate_scale(*parameter, scale);
  optimizer_->set_rate_scale(*model.parameters().find("user_id_embedding_arch.weight"), config.user_table_rate);
  if (config.ema > 0) average_.emplace(model.parameters().all(), config.ema);
}

StepLosses TrainingStep::run(const Batch<float>& batch, double learning_rate, bool alignment_on) {
  tape_.reset();
  Batch<float> with_queue = batch;
  if (queue_) with_queue.queue = queue_->with_vectors(batch.queue.id, arena_);
  const LossOutput<float> loss = model_.loss(tape_, with_queue, alignment_on);
  if (watch_ && model_.alignment())
    expected_value_ = static_cast<double>(
        model_.alignment()->expected_value(tape_, loss.u.value(), loss.v.value(), model_.temperature()));
  update(loss.total, learning_rate);
  if (queue_) queue_->give(loss.v.value());
  return {value_of(loss.total),        value_of(loss.retrieval), value_of(loss.debias),   value_of(loss.ranker),
          value_of(loss.distillation), value_of(loss.proxy),     value_of(loss.alignment)};
}

ListLosses TrainingStep::run(const ListBatch<float>& batch, double learning_rate, bool alignment_on) {
  tape_.reset();
  const ListLossOutput<float> loss = model_.list_loss(tape_, batch, alignment_on);
  if (loss.total.requires_grad()) update(loss.total, learning_rate);
  return {value_of(loss.total), value_of(loss.towers), value_of(loss.ranker), value_of(loss.alignment),
          static_cast<double>(loss.reward)};
}

void TrainingStep::update(Variable<float> loss, double learning_rate) {
  check(std::isfinite(loss.item()), "train", "the loss of step ", optimizer_->steps() + 1, " is ", loss.item(),
        "; lower learning_rate, or set clip_norm = 1");
  const Gradients<float> gradients = tape_.backward(loss);
  double scale = 1;
  if (clip_norm_ > 0) {
    const double norm = gradients.norm();
    check(std::isfinite(norm), "train", "the gradient of step ", optimizer_->steps() + 1, " is ", norm,
          " long although its loss is finite; lower learning_rate");
    if (norm > clip_norm_) scale = clip_norm_ / norm;
  }
  if (average_) average_->before_step(optimizer_->steps(), gradients);
  optimizer_->set_learning_rate(learning_rate);
  optimizer_->step(model_.parameters().all(), gradients, scale);
}

}  // namespace tt
