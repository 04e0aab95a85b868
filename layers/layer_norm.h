#pragma once
// Layer normalisation over each row (Ba et al. 2016). Parameters: NAME.weight (the gain, 1 at first), NAME.bias
// [width].

#include <twotower/autograd/ops/rows/normalize.h>
#include <twotower/layers/parameter_set.h>

namespace tt {

template <class T>
struct LayerNorm {
  LayerNorm() = default;
  LayerNorm(ParameterSet<T>& parameters, const std::string& name, int64_t width)
      : gain(parameters.add(name + ".weight", {width}, Initializer::constant(1))),
        bias(parameters.add(name + ".bias", {width}, Initializer::constant(0))) {}

  Variable<T> operator()(Tape<T>& tape, Variable<T> x) const {
    return layer_norm(x, tape.parameter(*gain), tape.parameter(*bias));
  }

  Parameter<T>*gain = nullptr, *bias = nullptr;
};

}  // namespace tt
