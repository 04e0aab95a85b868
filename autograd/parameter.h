#pragma once
// What training changes. Nothing that a step does writes to it but an optimizer, so any number of tapes may read one
// model at the same time.

#include <twotower/tensor/tensor.h>

#include <string>

namespace tt {

template <class T>
struct Parameter {
  std::string name;
  Tensor<T> value;
  int64_t number = 0;  // its place in the set that it belongs to: where tapes and optimizers look for it first
};

}  // namespace tt
