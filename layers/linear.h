#pragma once
// y = x W^T + b, with W stored [out, in] as PyTorch stores it. Parameters: NAME.weight, NAME.bias.

#include <twotower/autograd/ops/matrix/linear.h>
#include <twotower/layers/parameter_set.h>

namespace tt {

// Blocks of columns that stand side by side without being copied together. A list that allocates nothing.
template <class T>
class Blocks {
 public:
  void push_back(Variable<T> x) {
    check(count_ < kMost, "linear", "more than ", kMost, " blocks of columns");
    blocks_[count_++] = x;
  }
  const Variable<T>* data() const { return blocks_; }
  int size() const { return count_; }

 private:
  static constexpr int kMost = 4;
  Variable<T> blocks_[kMost];
  int count_ = 0;
};

template <class T>
struct Linear {
  Linear() = default;
  Linear(ParameterSet<T>& parameters, const std::string& name, int64_t in, int64_t out)
      : weight(parameters.add(name + ".weight", {out, in}, Initializer::fan_in(in))),
        bias(parameters.add(name + ".bias", {out}, Initializer::fan_in(in))) {}

  Variable<T> operator()(Tape<T>& tape, std::initializer_list<Variable<T>> x,
                         Activation activation = Activation::none) const {
    return linear(x, tape.parameter(*weight), tape.parameter(*bias), activation);
  }
  Variable<T> operator()(Tape<T>& tape, const Blocks<T>& x, Activation activation = Activation::none) const {
    return linear(x.data(), x.size(), tape.parameter(*weight), tape.parameter(*bias), activation);
  }
  Variable<T> operator()(Tape<T>& tape, Variable<T> x, Activation activation = Activation::none) const {
    return (*this)(tape, {x}, activation);
  }

  Parameter<T>* weight = nullptr;
  Parameter<T>* bias = nullptr;
};

}  // namespace tt
