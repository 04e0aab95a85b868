#pragma once
// A multi-layer perceptron of any depth: linear layers with a relu between them. Parameters: NAME.0.{weight,bias},
// NAME.2.{weight,bias}, ...: as in torch.nn.Sequential, the relus have the odd numbers and no parameters.

#include <twotower/layers/linear.h>

#include <vector>

namespace tt {

template <class T>
class Mlp {
 public:
  Mlp() = default;
  // widths: of the input, the hidden layers if any, and the output: {in, 256, out} is one hidden layer. Throws Error
  // for fewer than two.
  Mlp(ParameterSet<T>& parameters, const std::string& name, const std::vector<int64_t>& widths);
  Variable<T> operator()(Tape<T>& tape, Variable<T> x) const;  // [m, widths.front()] -> [m, widths.back()]

 private:
  std::vector<Linear<T>> layers_;
};

}  // namespace tt
