#pragma once
// y = x W^T + b, with W stored [out, in] as PyTorch stores it. Parameters: NAME.weight, NAME.bias.

#include "autograd/ops/matmul.h"
#include "layers/parameter_set.h"

namespace tt {

template <class T>
struct Linear {
  Linear() = default;
  Linear(ParameterSet<T>& parameters, const std::string& name, int64_t in, int64_t out)
      : weight(parameters.add(name + ".weight", {out, in}, Initializer::fan_in(in))),
        bias(parameters.add(name + ".bias", {out}, Initializer::fan_in(in))) {}

  // The input may come as blocks of columns that are never copied together.
  Variable<T> operator()(Tape<T>& tape, std::initializer_list<Variable<T>> x,
                         Activation activation = Activation::none) const {
    return linear(x, tape.parameter(*weight), tape.parameter(*bias), activation);
  }
  Variable<T> operator()(Tape<T>& tape, const std::vector<Variable<T>>& x) const {
    return linear(x.data(), static_cast<int>(x.size()), tape.parameter(*weight), tape.parameter(*bias));
  }

  Parameter<T>* weight = nullptr;
  Parameter<T>* bias = nullptr;
};

}  // namespace tt
