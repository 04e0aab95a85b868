#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/models/two_tower.h>

#include <cmath>

namespace tt {
namespace {

constexpr double kWeightFloor = 1e-6;

ModelConfig checked(const ModelConfig& config) {
  config.validate();
  return config;
}

// The exclusions among the first m columns.
Exclusions within(const Exclusions& exclude, int64_t m, Arena& arena) {
  const int64_t b = exclude.offsets.numel() - 1;
  if (b < 0) return exclude;
  const Tensor<int64_t> offsets = make_tensor<int64_t>(arena, {b + 1});
  const Tensor<int32_t> columns = make_tensor<int32_t>(arena, {exclude.offsets[b]});
  int64_t n = offsets[0] = 0;
  for (int64_t i = 0; i < b; ++i) {
    for (int64_t k = exclude.offsets[i]; k < exclude.offsets[i + 1]; ++k)
      if (exclude.columns[k] < m) columns[n++] = exclude.columns[k];
    offsets[i + 1] = n;
  }
  return {offsets, {columns.data(), {n}}};
}

}  // namespace

template <class T>
TwoTower<T>::AnchorTowers::AnchorTowers(const ModelConfig& config)
    : item_tower(parameters, "anchor.", config), user_tower(parameters, "anchor.", config, item_tower.table()) {
  if (config.learn_temperature)
    log_temperature = parameters.add("anchor.log_temperature", {1}, Initializer::constant(0));
}

template <class T>
TwoTower<T>::TwoTower(const ModelConfig& config, uint64_t seed)
    : TwoTower(config, std::make_unique<ParameterSet<T>>(seed)) {}

template <class T>
TwoTower<T>::TwoTower(const ModelConfig& config, typename ParameterSet<T>::Source source)
    : TwoTower(config, std::make_unique<ParameterSet<T>>(std::move(source))) {}

template <class T>
TwoTower<T>::TwoTower(const ModelConfig& config, std::unique_ptr<ParameterSet<T>> parameters)
    : config_(checked(config)),
      parameters_(std::move(parameters)),
      item_tower_(*parameters_, "", config_),
      user_tower_(*parameters_, "", config_, item_tower_.table()) {
  if (config_.learn_temperature)
    log_temperature_ = parameters_->add("log_temperature", {1}, Initializer::constant(std::log(config_.temperature)));
  if (config_.debias != "none") debias_.emplace(*parameters_, config_);
  if (config_.light_ranker) light_ranker_.emplace(*parameters_, config_, user_tower_.input_width());
  if (config_.distill_towers != "none") distillation_.emplace(*parameters_, config_);
  if (config_.aligns_with_proxy()) alignment_.emplace(*parameters_, config_);
}

template <class T>
Variable<T> TwoTower<T>::tau(Tape<T>& tape) const {
  if (log_temperature_) return exp(tape.parameter(*log_temperature_));
  return tape.scalar(static_cast<T>(config_.temperature));
}

template <class T>
T TwoTower<T>::temperature() const {
  return log_temperature_ ? std::exp(log_temperature_->value[0]) : static_cast<T>(config_.temperature);
}

template <class T>
void TwoTower<T>::check_batch(const Batch<T>& batch) const {
  const int64_t b = batch.size(), tasks = config_.num_tasks();
  const bool several = batch.candidates.positives.offsets.numel() > 0;
  check(b > 0, "model", "the batch is empty");
  check(several || batch.item.id.numel() == b, "model", "item_id has ", batch.item.id.numel(), " rows, user_id has ",
        b);
  check(!several || !(debias_ || light_ranker_ || alignment_), "model",
        "rows with several positives are no single impressions, which debias, light_ranker and alignment learn from");
  const bool valued = batch.value.numel() > 0;
  check(!valued || batch.value.numel() == b, "model", "value has ", batch.value.numel(), " rows, user_id has ", b);
  if (!valued || light_ranker_ || alignment_)
    check(batch.labels.shape() == Shape{b, tasks}, "model", "labels have shape ", batch.labels.shape(),
          "; user_value_weights ask for [", b, ", ", tasks, "]");
  check(batch.ranker_scores.numel() == 0 || batch.ranker_scores.shape() == Shape{b, tasks}, "model",
        "ranker_scores have shape ", batch.ranker_scores.shape(), "; user_value_weights ask for [", b, ", ", tasks,
        "]");
  const Tensor<const int64_t> target = batch.candidates.target;
  if (config_.full_softmax) {
    check(several || target.numel() == b, "model", "target has ", target.numel(), " rows, user_id has ", b,
          "; full_softmax needs each row's positive among all items");
    for (int64_t i = 0; i < target.numel(); ++i)
      check(target[i] >= 0 && target[i] < batch.negatives.id.numel(), "model", "target ", target[i], " in row ", i,
            "; the columns are 0 to ", batch.negatives.id.numel() - 1);
  }
  const QueuedItems<T>& queue = batch.queue;
  const int64_t queued = queue.id.numel(), d = config_.item_id_embedding_dim;
  check(queue.vectors.numel() == queued * d && (queued == 0 || queue.vectors.shape() == Shape{queued, d}), "model",
        "the queue has vectors of shape ", queue.vectors.shape(), " for ", queued, " items of width ", d);
}

// Debiased net user value, floored at 1e-6 and divided by its largest in the batch: [B].
template <class T>
Variable<T> TwoTower<T>::weights(Tape<T>& tape, const Batch<T>& batch, Variable<T> u, Variable<T>* debias_loss) const {
  const int64_t b = batch.size(), tasks = config_.num_tasks();
  const Tensor<T> value = tape.make({b});
  for (int64_t i = 0; i < b; ++i) {
    value[i] = batch.value.numel() > 0 ? batch.value[i] : 0;
    if (batch.value.numel() > 0) continue;
    for (int64_t t = 0; t < tasks; ++t)
      value[i] += static_cast<T>(config_.user_value_weights[static_cast<size_t>(t)]) * batch.labels.row(i)[t];
  }
  Variable<T> debiased = tape.constant(value);
  if (debias_) {
    const auto out = (*debias_)(tape, value, batch.position, u);
    debiased = out.value;
    *debias_loss = out.loss;
  }
  const Variable<T> floored = clamp_min(debiased, T(kWeightFloor));
  return divide(floored, max(floored));
}

template <class T>
LossOutput<T> TwoTower<T>::loss(Tape<T>& tape, const Batch<T>& batch, bool alignment_on) const {
  check_batch(batch);
  LossOutput<T> out;
  const Blocks<T> user_input = user_tower_.input(tape, batch.user);
  const auto by_row = [&](Variable<T> of_users) {  // [users, n] -> [B, n]
    return batch.user_of.numel() > 0 ? embedding(of_users, batch.user_of) : of_users;
  };
  out.u = by_row(user_tower_.vectors(tape, user_input));
  // The item vectors of the softmax [M, DI]; without the queue's, which are constants of earlier steps: alignment moves
  // the items that it compares, and a frozen tower has vectors of its own.
  Variable<T> columns, live;
  if (config_.full_softmax) {
    columns = live = item_tower_(tape, batch.negatives);
    out.v = batch.candidates.target.numel() > 0 ? embedding(columns, batch.candidates.target) : columns;
  } else {
    live = out.v = item_tower_(tape, batch.item);
    if (batch.negatives.id.numel() > 0) live = concat_rows(live, item_tower_(tape, batch.negatives));
    columns = batch.queue.id.numel() > 0 ? concat_rows(live, tape.constant(batch.queue.vectors)) : live;
  }
  const int64_t log_q = batch.candidates.log_q.numel();
  check(log_q == 0 || log_q == columns.rows(), "model", "log_q has ", log_q, " entries for ", columns.rows(),
        " columns");
  const Variable<T> temperature_variable = tau(tape);

  const Variable<T> weight = weights(tape, batch, out.u, &out.debias);
  out.retrieval = in_batch_softmax(out.u, columns, temperature_variable, weight, batch.candidates);
  out.total = out.retrieval;
  const auto add_part = [&](Variable<T> part) {
    if (part) out.total = add(out.total, part);
  };
  add_part(out.debias);

  Tensor<const T> examination;
  if (debias_ && config_.ranker_examination) examination = debias_->examination(tape, batch.position);
  if (light_ranker_) {
    const Variable<T> user_vectors = by_row(light_ranker_->user_vectors(tape, user_input));
    const auto parts = light_ranker_->loss(light_ranker_->logits(tape, user_vectors, out.u, out.v), batch, examination);
    add_part(out.ranker = parts.labels);
    add_part(out.distillation = parts.distillation);
  }
  if (alignment_) {
    add_part(out.proxy = alignment_->fit_loss(tape, out.u, out.v, batch, examination));
    if (alignment_on && config_.alignment_weight > 0) {
      Anchor<T> anchor{out.u.value(), live.value(), temperature_variable.item()};
      if (anchor_ && config_.needs_anchor()) {
        const NoGrad frozen(tape);
        anchor.u = by_row(anchor_->user_tower.vectors(tape, anchor_->user_tower.input(tape, batch.user))).value();
        Variable<T> v0 = anchor_->item_tower(tape, config_.full_softmax ? batch.negatives : batch.item);
        if (!config_.full_softmax && batch.negatives.id.numel() > 0)
          v0 = concat_rows(v0, anchor_->item_tower(tape, batch.negatives));
        anchor.v = v0.value();
        if (anchor_->log_temperature) anchor.tau = std::exp(anchor_->log_temperature->value[0]);
      }
      const Exclusions exclude = batch.queue.id.numel() > 0
                                     ? within(batch.candidates.exclude, live.rows(), tape.arena())
                                     : batch.candidates.exclude;
      out.alignment = scale(alignment_->align_loss(tape, out.u, live, temperature_variable, exclude, &anchor),
                            static_cast<T>(config_.alignment_weight));
      add_part(out.alignment);
    }
  }
  return out;
}

template <class T>
Variable<T> TwoTower<T>::users(Tape<T>& tape, const UserInputs<T>& users) const {
  return user_tower_.vectors(tape, user_tower_.input(tape, users));
}

template <class T>
Variable<T> TwoTower<T>::items(Tape<T>& tape, const ItemInputs<T>& items) const {
  return item_tower_(tape, items);
}

template <class T>
auto TwoTower<T>::serve(Tape<T>& tape, const UserInputs<T>& users) const -> Served {
  const Blocks<T> input = user_tower_.input(tape, users);
  return {user_tower_.vectors(tape, input), light_ranker_ ? light_ranker_->user_vectors(tape, input) : Variable<T>()};
}

template <class T>
void TwoTower<T>::rank(Tape<T>& tape, const T* ranker, const T* u, Tensor<const T> items, T* values) const {
  check(light_ranker_.has_value(), "rank", "the model has no light ranker; train one with light_ranker = true");
  const int64_t c = items.rows(), d = items.cols(), wide = config_.num_ranker_user_embeddings * d;
  const Tensor<T> all_ranker = tape.make({c, wide}), all_u = tape.make({c, d});
  for (int64_t i = 0; i < c; ++i) {
    std::copy_n(ranker, wide, all_ranker.row(i));
    std::copy_n(u, d, all_u.row(i));
  }
  const Variable<T> logits =
      light_ranker_->logits(tape, tape.constant(all_ranker), tape.constant(all_u), tape.constant(items));
  for (int64_t i = 0; i < c; ++i) values[i] = light_ranker_->value(logits.value().row(i));
}

template <class T>
void TwoTower<T>::set_anchor() {
  if (!config_.needs_anchor()) return;
  if (!anchor_) anchor_ = std::make_unique<AnchorTowers>(config_);
  for (Parameter<T>* frozen : anchor_->parameters.all()) {
    const Parameter<T>* live = parameters_->find(frozen->name.substr(std::string("anchor.").size()));
    std::copy(live->value.begin(), live->value.end(), frozen->value.begin());
  }
}

// A hundred numbers that start far from the truth, and a ranker that must follow u and v faster than they move towards
// it: at the towers' rate, Adam would need most of a run to get there.
template <class T>
auto TwoTower<T>::rate_scales() const -> std::vector<RateScale> {
  std::vector<RateScale> out;
  if (config_.compat != "default") return out;
  if (debias_ && debias_->position_parameter()) out.push_back({debias_->position_parameter(), kEstimatorRate});
  if (alignment_)
    for (const Parameter<T>* p : {alignment_->ranker().weight, alignment_->ranker().bias})
      out.push_back({p, kEstimatorRate});
  return out;
}

template class TwoTower<float>;
template class TwoTower<double>;

}  // namespace tt
