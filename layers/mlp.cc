#include <twotower/layers/mlp.h>

namespace tt {

template <class T>
Mlp<T>::Mlp(ParameterSet<T>& parameters, const std::string& name, int64_t in, int64_t hidden, int64_t out)
    : first_(parameters, name + ".0", in, hidden), second_(parameters, name + ".2", hidden, out) {}

template <class T>
Variable<T> Mlp<T>::operator()(Tape<T>& tape, Variable<T> x) const {
  return second_(tape, {first_(tape, {x}, Activation::relu)});
}

template class Mlp<float>;
template class Mlp<double>;

}  // namespace tt
