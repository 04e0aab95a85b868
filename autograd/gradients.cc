#include <twotower/autograd/gradients.h>
#include <twotower/autograd/tape.h>
#include <twotower/tensor/error.h>

#include <cmath>

namespace tt {

template <class T>
Gradients<T>::Gradients(const Tape<T>& tape, std::span<const Entry> entries)
    : tape_(&tape), step_(tape.step()), entries_(entries) {}

template <class T>
void Gradients<T>::check_alive() const {
  check(tape_ == nullptr || tape_->step() == step_, "gradients",
        "the tape was reset since they were made; use them before tape.reset()");
}

template <class T>
Gradient<T> Gradients<T>::of(const Parameter<T>& parameter) const {
  check_alive();
  for (const Entry& entry : entries_)
    if (entry.parameter == &parameter) return entry.gradient;
  return {};
}

template <class T>
Tensor<T> Gradients<T>::of(const Variable<T>& leaf) const {
  check_alive();
  check(tape_ != nullptr && &leaf.tape() == tape_, "gradients", "the variable belongs to another tape");
  check(leaf.node()->op == nullptr && leaf.requires_grad(), "gradients",
        "only leaves made by tape.variable keep a gradient; what an op made gives its own away");
  return leaf.node()->grad;
}

template <class T>
std::span<const typename Gradients<T>::Entry> Gradients<T>::all() const {
  check_alive();
  return entries_;
}

template <class T>
double Gradients<T>::norm() const {
  double total = 0;
  const auto add = [&](const Tensor<T>& values) {
    for (const T x : values) total += static_cast<double>(x) * static_cast<double>(x);
  };
  for (const Entry& entry : all()) add(entry.gradient.dense), add(entry.gradient.rows.values);
  return std::sqrt(total);
}

template class Gradients<float>;
template class Gradients<double>;

}  // namespace tt
