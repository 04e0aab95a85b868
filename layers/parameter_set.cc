#include <twotower/layers/parameter_set.h>
#include <twotower/tensor/error.h>

namespace tt {

template <class T>
Parameter<T>* ParameterSet<T>::add(const std::string& name, const Shape& shape, const Initializer& how) {
  check(find(name) == nullptr, "model", "two parameters are named \"", name, "\"");
  Parameter<T>& p = storage_.emplace_back();
  p.name = name;
  p.number = static_cast<int64_t>(order_.size());
  if (source_) {
    const Tensor<const T> value = source_(name, shape);
    check(value.shape() == shape, "model", "parameter \"", name, "\" is given as ", value.shape(), ", not ", shape);
    p.value = {const_cast<T*>(value.data()), shape};
  } else {
    p.value = make_tensor<T>(pool_, shape);
    initialize(p.value, how, seed_, name);
  }
  order_.push_back(&p);
  return &p;
}

template <class T>
Parameter<T>* ParameterSet<T>::find(const std::string& name) const {
  for (Parameter<T>* p : order_)
    if (p->name == name) return p;
  return nullptr;
}

template <class T>
int64_t ParameterSet<T>::element_count() const {
  int64_t n = 0;
  for (const Parameter<T>* p : order_) n += p->value.numel();
  return n;
}

template class ParameterSet<float>;
template class ParameterSet<double>;

}  // namespace tt
