#pragma once
// Sums, differences, products and quotients, element by element. The shapes agree, or one operand (for subtract and
// divide the second) is broadcast over the other's matrix view [m, n]: a [1] over everything, an [n] over every row, an
// [m, 1] over every column. Its gradient is then summed over what it was broadcast over.

#include <twotower/autograd/tape.h>

#include <type_traits>

namespace tt {

template <class T>
Variable<T> add(Variable<T> a, Variable<T> b);
template <class T>
Variable<T> subtract(Variable<T> a, Variable<T> b);
template <class T>
Variable<T> multiply(Variable<T> a, Variable<T> b);
template <class T>
Variable<T> divide(Variable<T> a, Variable<T> b);
template <class T>
Variable<T> scale(Variable<T> x, std::type_identity_t<T> factor);  // x * factor, a number
template <class T>
Variable<T> shift(Variable<T> x, std::type_identity_t<T> offset);  // x + offset, a number

template <class T>
Variable<T> operator+(Variable<T> a, Variable<T> b) {
  return add(a, b);
}
template <class T>
Variable<T> operator-(Variable<T> a, Variable<T> b) {
  return subtract(a, b);
}
template <class T>
Variable<T> operator*(Variable<T> a, Variable<T> b) {
  return multiply(a, b);
}
template <class T>
Variable<T> operator/(Variable<T> a, Variable<T> b) {
  return divide(a, b);
}
template <class T>
Variable<T> operator-(Variable<T> x) {
  return scale(x, T(-1));
}
template <class T>
Variable<T> operator*(Variable<T> x, std::type_identity_t<T> factor) {
  return scale(x, factor);
}
template <class T>
Variable<T> operator*(std::type_identity_t<T> factor, Variable<T> x) {
  return scale(x, factor);
}
template <class T>
Variable<T> operator/(Variable<T> x, std::type_identity_t<T> divisor) {
  return scale(x, T(1) / divisor);
}
template <class T>
Variable<T> operator+(Variable<T> x, std::type_identity_t<T> offset) {
  return shift(x, offset);
}
template <class T>
Variable<T> operator-(Variable<T> x, std::type_identity_t<T> offset) {
  return shift(x, -offset);
}
template <class T>
Variable<T> operator-(std::type_identity_t<T> from, Variable<T> x) {
  return shift(scale(x, T(-1)), from);
}

}  // namespace tt
