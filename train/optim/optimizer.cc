#include <twotower/tensor/error.h>
#include <twotower/train/optim/optimizer.h>

#include <algorithm>

namespace tt {

template <class T>
Optimizer<T>::Optimizer(double learning_rate, std::vector<std::string> state_names)
    : learning_rate_(learning_rate), state_names_(std::move(state_names)) {}

// A parameter's state stands at its number, unless parameters of several sets are trained together.
template <class T>
auto Optimizer<T>::state_of(const Parameter<T>& parameter) -> State& {
  const auto number = static_cast<std::size_t>(parameter.number);
  if (number >= states_.size()) states_.resize(number + 1);
  State* state = &states_[number];
  if (state->parameter != nullptr && state->parameter != &parameter) {
    state = nullptr;
    for (State& s : states_)
      if (s.parameter == &parameter) state = &s;
    if (state == nullptr) state = &states_.emplace_back();
  }
  if (state->parameter == nullptr) state->parameter = &parameter, state->numel = parameter.value.numel();
  check(state->numel == parameter.value.numel(), "optimizer", "the parameter \"", parameter.name, "\" has ",
        parameter.value.numel(), " elements, its state ", state->numel,
        "; an optimizer serves the parameters that it began with");
  return *state;
}

template <class T>
void Optimizer<T>::make_tensors(State& state) {
  for (std::size_t i = 0; i < state_names_.size(); ++i)
    if (!state.tensors[i]) state.tensors[i] = pool_.allocate<T>(state.parameter->value.numel());
}

template <class T>
void Optimizer<T>::step(const std::vector<Parameter<T>*>& parameters, const Gradients<T>& gradients,
                        double grad_scale) {
  (void)gradients.all();  // throws if the tape was reset since: before anything changes
  ++steps_;
  for (Parameter<T>* p : parameters) {
    const Gradient<T> gradient = gradients.of(*p);
    if (!gradient) continue;
    State& state = state_of(*p);
    make_tensors(state);
    Update u{p->value.data(), {}, learning_rate_ * state.rate_scale, grad_scale, steps_};
    std::copy(std::begin(state.tensors), std::end(state.tensors), u.state);
    if (gradient.dense)
      update(u, gradient.dense.data(), p->value.numel());
    else
      update_rows(u, p->value.cols(), gradient.rows.rows.data(), gradient.rows.values.data(), gradient.rows.count());
  }
}

template <class T>
void Optimizer<T>::add_state(SafetensorsWriter& writer, const std::vector<Parameter<T>*>& parameters) {
  writer.add("step", &steps_, {1});
  for (const Parameter<T>* p : parameters) {
    State& state = state_of(*p);
    make_tensors(state);
    for (std::size_t i = 0; i < state_names_.size(); ++i)
      writer.add(p->name + "." + state_names_[i], state.tensors[i], {p->value.numel()});
  }
}

template <class T>
void Optimizer<T>::load_state(const SafetensorsFile& file, const std::vector<Parameter<T>*>& parameters) {
  for (const Parameter<T>* p : parameters)  // all of it is there before any of it is taken
    for (const std::string& name : state_names_) (void)file.data<T>(p->name + "." + name, {p->value.numel()});
  steps_ = *file.data<int64_t>("step", {1});
  for (const Parameter<T>* p : parameters) {
    State& state = state_of(*p);
    make_tensors(state);
    for (std::size_t i = 0; i < state_names_.size(); ++i)
      std::copy_n(file.data<T>(p->name + "." + state_names_[i]), p->value.numel(), state.tensors[i]);
  }
}

template class Optimizer<float>;
template class Optimizer<double>;

}  // namespace tt
