#include <twotower/layers/mlp.h>

namespace tt {

template <class T>
Mlp<T>::Mlp(ParameterSet<T>& parameters, const std::string& name, const std::vector<int64_t>& widths) {
  check(widths.size() >= 2, "mlp", "\"", name, "\" has ", widths.size(), " widths; give those of its input and output");
  for (size_t i = 0; i + 1 < widths.size(); ++i)
    layers_.emplace_back(parameters, name + "." + std::to_string(2 * i), widths[i], widths[i + 1]);
}

template <class T>
Variable<T> Mlp<T>::operator()(Tape<T>& tape, Variable<T> x) const {
  for (size_t i = 0; i + 1 < layers_.size(); ++i) x = layers_[i](tape, {x}, Activation::relu);
  return layers_.back()(tape, {x});
}

template class Mlp<float>;
template class Mlp<double>;

}  // namespace tt
