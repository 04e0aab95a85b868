#pragma once
// All parameters of a model: it owns their memory and keeps them in the order in which they were added. That one order
// serves checkpoints, optimizers, tests and `inspect`. Layers hold pointers into it and own nothing.

#include <twotower/autograd/parameter.h>
#include <twotower/layers/initializer.h>

#include <deque>
#include <string>
#include <vector>

namespace tt {

template <class T>
class ParameterSet {
 public:
  explicit ParameterSet(uint64_t seed = 1) : seed_(seed) {}
  ParameterSet(const ParameterSet&) = delete;
  ParameterSet& operator=(const ParameterSet&) = delete;

  // The pointer stays valid as long as the set. Throws Error if the name is taken.
  Parameter<T>* add(const std::string& name, const Shape& shape, const Initializer& how);

  const std::vector<Parameter<T>*>& all() const { return order_; }
  Parameter<T>* find(const std::string& name) const;  // null if there is none
  int64_t element_count() const;

 private:
  uint64_t seed_;
  Pool pool_;
  std::deque<Parameter<T>> storage_;
  std::vector<Parameter<T>*> order_;
};

}  // namespace tt
