#include <twotower/autograd/ops/arithmetic.h>
#include <twotower/autograd/ops/elementwise.h>
#include <twotower/autograd/ops/embedding.h>
#include <twotower/autograd/ops/losses.h>
#include <twotower/autograd/ops/reduce.h>
#include <twotower/models/debias.h>

namespace tt {
namespace {

constexpr double kUserFloor = 0.1, kPositionFloor = 1e-3, kExaminationFloor = 0.01;

}  // namespace

template <class T>
Debias<T>::Debias(ParameterSet<T>& parameters, const ModelConfig& config)
    : gradient_(config.debias_gradient), sum_(config.debias_reduction == "sum") {
  if (config.debias_position())
    position_ = parameters.add("position_bias_net_user_value.weight", {kPositions, 1},
                               config.position_init == "normal" ? Initializer::normal(1) : Initializer::constant(1));
  if (config.debias_user())
    user_.emplace(parameters, "user_debias_net_user_value.0", config.item_id_embedding_dim + (position_ ? 1 : 0), 1);
}

template <class T>
Tensor<const int64_t> Debias<T>::buckets(Tape<T>& tape, Tensor<const int32_t> position, int64_t rows) const {
  check(position.numel() == rows, "debias", "the model debiases by position, and the batch has no \"position\" column");
  const Tensor<int64_t> bucket = make_tensor<int64_t>(tape.arena(), {rows});
  for (int64_t i = 0; i < rows; ++i) {
    check(position[i] >= 0, "debias", "position ", position[i], " in row ", i, "; positions count from 0");
    bucket[i] = std::min<int64_t>(position[i], kPositions - 1);
  }
  return bucket;
}

template <class T>
Tensor<const T> Debias<T>::examination(Tape<T>& tape, Tensor<const int32_t> position) const {
  if (!position_) return {};
  const int64_t b = position.numel();
  const Tensor<const int64_t> bucket = buckets(tape, position, b);
  const Tensor<T> out = tape.make({b});
  const T first = std::max(position_->value[0], T(kPositionFloor));
  for (int64_t i = 0; i < b; ++i) out[i] = std::clamp(position_->value[bucket[i]] / first, T(kExaminationFloor), T(1));
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
    estimate = embedding(tape.parameter(*position_), buckets(tape, position, b), TableGradient::dense);
    loss = squared_error(estimate);
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
  return {divide(v, divisor), loss};
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
