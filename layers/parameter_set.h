#pragma once
// All parameters of a model: it owns their memory and keeps them in the order in which they were added. That one order
// serves checkpoints, optimizers, tests and `inspect`. Layers hold pointers into it and own nothing.

#include <twotower/autograd/parameter.h>
#include <twotower/layers/initializer.h>

#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace tt {

template <class T>
class ParameterSet {
 public:
  explicit ParameterSet(uint64_t seed = 1) : seed_(seed) {}
  // A set whose values are given, not drawn: each parameter views what source(name, shape) returns. It must have that
  // shape, outlive the set, and is never written to; so it may be a file that is mapped for reading.
  using Source = std::function<Tensor<const T>(const std::string& name, const Shape& shape)>;
  explicit ParameterSet(Source source) : source_(std::move(source)) {}
  ParameterSet(const ParameterSet&) = delete;
  ParameterSet& operator=(const ParameterSet&) = delete;

  // The pointer stays valid as long as the set. Throws Error if the name is taken.
  Parameter<T>* add(const std::string& name, const Shape& shape, const Initializer& how);

  const std::vector<Parameter<T>*>& all() const { return order_; }
  Parameter<T>* find(const std::string& name) const;  // null if there is none
  bool given() const { return source_ != nullptr; }   // values are views: nobody may write to them
  int64_t element_count() const;

 private:
  uint64_t seed_ = 1;
  Source source_;
  Pool pool_;
  std::deque<Parameter<T>> storage_;
  std::vector<Parameter<T>*> order_;
};

}  // namespace tt
