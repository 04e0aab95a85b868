#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/losses/cross_entropy.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/models/debias.h>

#include <algorithm>

namespace tt {
namespace {

constexpr double kUserFloor = 0.1, kPositionFloor = 1e-3, kExaminationFloor = 0.01;

}  // namespace

template <class T>
Debias<T>::Debias(ParameterSet<T>& parameters, const ModelConfig& config)
    : gradient_(config.debias_gradient),
      sum_(config.debias_reduction == "sum"),
      cap_(static_cast<T>(config.debias_cap)) {
  if (config.debias_position())
    position_ = parameters.add("position_bias_net_user_value.weight", {kPositions, 1},
                               config.position_init == "normal" ? Initializer::normal(1) : Initializer::constant(1));
  if (config.debias_user())
    user_.emplace(parameters, "user_debias_net_user_value.0", config.item_id_embedding_dim + (position_ ? 1 : 0), 1);
}

template <class T>
auto Debias<T>::slots(Tape<T>& tape, Tensor<const int32_t> position, int64_t rows) const -> Slots {
  check(position.numel() == rows, "debias", "the model debiases by position, and the batch has no \"position\" column");
  const Tensor<int64_t> bucket = make_tensor<int64_t>(tape.arena(), {rows});
  Slots slots{bucket, 0, position_->value[0]};
  T sum = 0;
  for (int64_t i = 0; i < rows; ++i) {
    check(position[i] >= -1, "debias", "position ", position[i], " in row ", i,
          "; positions count from 0, and -1 stands for an unknown one");
    bucket[i] = std::min<int64_t>(position[i], kPositions - 1);
    if (bucket[i] < 0) continue;
    sum += position_->value[bucket[i]];
    ++slots.known;
  }
  if (slots.known > 0) slots.mean = sum / static_cast<T>(slots.known);
  return slots;
}

template <class T>
Tensor<const T> Debias<T>::examination(Tape<T>& tape, Tensor<const int32_t> position) const {
  if (!position_) return {};
  const int64_t b = position.numel();
  const Slots at = slots(tape, position, b);
  const Tensor<T> out = tape.make({b});
  const T first = std::max(position_->value[0], T(kPositionFloor));
  for (int64_t i = 0; i < b; ++i) {
    const T p = at.bucket[i] < 0 ? at.mean : position_->value[at.bucket[i]];
    out[i] = std::clamp(p / first, T(kExaminationFloor), T(1));
  }
  return out;
}

template <class T>
auto Debias<T>::operator()(Tape<T>& tape, Tensor<const T> value, Tensor<const int32_t> position, Variable<T> u) const
    -> Output {
  const int64_t b = value.numel();
  const Variable<T> v = tape.constant({value.data(), {b, 1}});
  const auto squared_error = [&](Variable<T> estimate) {
    const Variable<T> error = square(subtract(estimate, v));
    return sum_ ? sum(error) : mean(error);
  };

  Variable<T> estimate, loss;
  if (position_) {
    const Slots at = slots(tape, position, b);
    estimate = embedding(tape.parameter(*position_), at.bucket, TableGradient::dense);  // 0 where the slot is unknown
    if (at.known == b) {
      loss = squared_error(estimate);
    } else {
      const Tensor<T> is_known = tape.make({b, 1}), mean_if_not = tape.make({b, 1});
      for (int64_t i = 0; i < b; ++i) {
        is_known[i] = at.bucket[i] < 0 ? T(0) : T(1);
        mean_if_not[i] = at.bucket[i] < 0 ? at.mean : T(0);
      }
      loss = sum(square(multiply(subtract(estimate, v), tape.constant(is_known))));
      if (!sum_) loss = scale(loss, 1 / static_cast<T>(std::max<int64_t>(at.known, 1)));
      estimate = add(estimate, tape.constant(mean_if_not));
    }
  }
  if (user_) {
    const Variable<T> user = gradient_ ? u : detach(u);
    if (position_) {
      estimate = (*user_)(tape, {user, estimate});
      loss = add(loss, squared_error(estimate));
    } else {
      estimate = clamp_min((*user_)(tape, {user}), T(kUserFloor));
      loss = squared_error(estimate);
    }
  }
  Variable<T> divisor = clamp_min(estimate, T(position_ ? kPositionFloor : kUserFloor));
  if (!gradient_) divisor = detach(divisor);
  return {capped(tape, divide(v, divisor)), loss};
}

template <class T>
Variable<T> Debias<T>::capped(Tape<T>& tape, Variable<T> value) const {
  if (cap_ == 0) return value;
  const Tensor<T> sorted = tape.make({value.value().numel()});
  T* const end = std::copy_if(value.value().begin(), value.value().end(), sorted.data(), [](T x) { return x > 0; });
  if (end == sorted.data()) return value;
  T* const middle = sorted.data() + (end - sorted.data() - 1) / 2;
  std::nth_element(sorted.data(), middle, end);
  const T most = cap_ * *middle;
  if (!std::any_of(middle, end, [&](T x) { return x > most; })) return value;
  return scale(clamp_min(scale(value, T(-1)), -most), T(-1));
}

template <class T>
Variable<T> label_loss(Variable<T> logits, Tensor<const T> labels, Tensor<const T> examination) {
  return examination.numel() > 0 ? examined_bce_with_logits(logits, labels, examination)
                                 : bce_with_logits(logits, labels);
}

template Variable<float> label_loss(Variable<float>, Tensor<const float>, Tensor<const float>);
template Variable<double> label_loss(Variable<double>, Tensor<const double>, Tensor<const double>);
template class Debias<float>;
template class Debias<double>;

}  // namespace tt
