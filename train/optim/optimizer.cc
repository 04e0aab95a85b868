#include <twotower/tensor/kernels/optimizer/optimizer.h>
#include <twotower/train/optim/optimizer.h>

#include <cmath>

namespace tt {

Optimizer::Optimizer(const ParameterSet<float>& parameters, const TrainConfig& config) : config_(config) {
  for (Parameter<float>* p : parameters.all()) {
    if (!p->trainable) continue;
    const int64_t n = p->value.numel();
    states_.push_back({p, pool_.allocate<float>(n), config.optimizer == "adam" ? pool_.allocate<float>(n) : nullptr});
  }
}

double Optimizer::gradient_norm() const {
  double total = 0;
  const auto add = [&](const Tensor<float>& g) {
    for (const float x : g) total += static_cast<double>(x) * x;
  };
  for (const State& s : states_) {
    add(s.parameter->grad);
    add(s.parameter->row_grad.values);
  }
  return std::sqrt(total);
}

double Optimizer::step(double learning_rate) {
  ++steps_;
  double norm = 0;
  float grad_scale = 1;
  if (config_.clip_norm > 0) {
    norm = gradient_norm();
    if (norm > config_.clip_norm) grad_scale = static_cast<float>(config_.clip_norm / norm);
  }
  kernels::AdamStep adam;
  adam.lr = static_cast<float>(learning_rate);
  adam.beta1 = static_cast<float>(config_.beta1), adam.beta2 = static_cast<float>(config_.beta2);
  adam.eps = static_cast<float>(config_.epsilon);
  adam.weight_decay = static_cast<float>(config_.weight_decay), adam.grad_scale = grad_scale;
  adam.t = steps_;
  kernels::AdagradStep adagrad;
  adagrad.lr = adam.lr, adagrad.eps = adam.eps, adagrad.weight_decay = adam.weight_decay;
  adagrad.grad_scale = grad_scale;

  for (const State& s : states_) {
    const Parameter<float>& p = *s.parameter;
    adam.lr = adagrad.lr = static_cast<float>(learning_rate * p.learning_rate_scale);
    const int64_t* rows = p.row_grad.rows.data();
    const int64_t touched = p.row_grad.count(), d = p.value.cols();
    if (touched > 0) {
      if (s.second)
        kernels::adam_rows(adam, p.value.data(), s.first, s.second, d, rows, p.row_grad.values.data(), touched);
      else
        kernels::adagrad_rows(adagrad, p.value.data(), s.first, d, rows, p.row_grad.values.data(), touched);
    }
    if (p.grad) {
      if (s.second)
        kernels::adam(adam, p.value.data(), s.first, s.second, p.grad.data(), p.value.numel());
      else
        kernels::adagrad(adagrad, p.value.data(), s.first, p.grad.data(), p.value.numel());
    }
  }
  return norm;
}

void Optimizer::add_state(SafetensorsWriter& writer) const {
  writer.add("step", &steps_, {1});
  for (const State& s : states_) {
    writer.add(s.parameter->name + ".moment1", s.first, {s.parameter->value.numel()});
    if (s.second) writer.add(s.parameter->name + ".moment2", s.second, {s.parameter->value.numel()});
  }
}

void Optimizer::load_state(const SafetensorsFile& file) {
  steps_ = *file.data<int64_t>("step", {1});
  for (State& s : states_) {
    const int64_t n = s.parameter->value.numel();
    const float* first = file.data<float>(s.parameter->name + ".moment1", {n});
    std::copy_n(first, n, s.first);
    if (!s.second) continue;
    const float* second = file.data<float>(s.parameter->name + ".moment2", {n});
    std::copy_n(second, n, s.second);
  }
}

}  // namespace tt
