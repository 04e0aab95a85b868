#pragma once
// Linear(hidden -> out)(relu(Linear(in -> hidden)(x))). Parameters: NAME.0.{weight,bias}, NAME.2.{weight,bias}; the
// activation between them has number 1 and no parameters.

#include <twotower/layers/linear.h>

namespace tt {

template <class T>
class Mlp {
 public:
  Mlp() = default;
  Mlp(ParameterSet<T>& parameters, const std::string& name, int64_t in, int64_t hidden, int64_t out);
  Variable<T> operator()(Tape<T>& tape, Variable<T> x) const;

 private:
  Linear<T> first_, second_;
};

}  // namespace tt
