#pragma once
// What a backward pass yields: the gradient of every parameter that the loss depends on, as a value. It lives in the
// tape's arena and is valid until that is reset, by this tape or another one on the same arena.

#include <twotower/autograd/parameter.h>
#include <twotower/autograd/row_grad.h>

#include <span>

namespace tt {

template <class T>
class Tape;
template <class T>
class Variable;

// dL/dp in one of two forms. A table that was only looked up has rows; everything else is dense, a table that was also
// used whole included (its rows are then added in).
template <class T>
struct Gradient {
  Tensor<T> dense;  // of the parameter's shape, or empty
  RowGrad<T> rows;  // or empty
  explicit operator bool() const { return dense || rows.count() > 0; }
};

template <class T>
class Gradients {
 public:
  struct Entry {
    const Parameter<T>* parameter;
    Gradient<T> gradient;
  };

  Gradients() = default;  // of nothing
  Gradients(const Tape<T>& tape, const Arena& arena, std::span<const Entry> entries);

  // Empty if the loss does not depend on it in this step: an optimizer then leaves it as it is. All of these throw
  // Error once the arena was reset, for the memory belongs to another step by then. The arena must be alive.
  Gradient<T> of(const Parameter<T>& parameter) const;
  // Of a leaf that Tape::variable made; zeros if nothing reached it.
  Tensor<T> of(const Variable<T>& leaf) const;
  std::span<const Entry> all() const;  // in the order in which the step met them

  double norm() const;  // Euclidean length of all of them together, for clipping

 private:
  void check_alive() const;

  const Tape<T>* tape_ = nullptr;  // to compare with, never followed: it may be gone
  const Arena* arena_ = nullptr;
  uint64_t round_ = 0;
  std::span<const Entry> entries_;
};

}  // namespace tt
