#pragma once
// Initial values. Each parameter draws from its own random stream, named by the parameter, so its values do not depend
// on what else the model has, on the order of construction or on the number of threads.

#include <twotower/tensor/tensor.h>

#include <cstdint>
#include <string_view>

namespace tt {

struct Initializer {
  enum class Kind { constant, uniform, normal } kind = Kind::constant;
  double scale = 0;  // the constant; the bound of U(-scale, scale); the standard deviation

  static Initializer constant(double value) { return {Kind::constant, value}; }
  static Initializer uniform(double bound) { return {Kind::uniform, bound}; }
  static Initializer normal(double deviation) { return {Kind::normal, deviation}; }
  // U(+-1/sqrt(in)): what PyTorch gives a linear layer's weight and bias.
  static Initializer fan_in(int64_t in);
  // U(+-sqrt(6 / (in + out))) (Glorot & Bengio 2010).
  static Initializer xavier(int64_t in, int64_t out);
};

template <class T>
void initialize(Tensor<T> values, const Initializer& how, uint64_t seed, std::string_view name);

}  // namespace tt
