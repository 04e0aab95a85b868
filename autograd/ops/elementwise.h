#pragma once
// Ops that treat each element alike. Shapes must agree exactly, except where a [1] scalar is named.

#include <twotower/autograd/tape.h>

namespace tt {

template <class T>
Variable<T> add(Variable<T> a, Variable<T> b);  // a + b
template <class T>
Variable<T> subtract(Variable<T> a, Variable<T> b);  // a - b
template <class T>
Variable<T> multiply(Variable<T> a, Variable<T> b);  // a * b, element by element
template <class T>
Variable<T> divide(Variable<T> a, Variable<T> b);  // a / b, element by element
template <class T>
Variable<T> scale(Variable<T> x, T factor);  // x * factor
template <class T>
Variable<T> divide_by(Variable<T> x, Variable<T> s);  // x / s, s: [1]
template <class T>
Variable<T> square(Variable<T> x);
template <class T>
Variable<T> relu(Variable<T> x);
template <class T>
Variable<T> gelu(Variable<T> x);  // x * Phi(x), exact (Hendrycks & Gimpel 2016)
template <class T>
Variable<T> sigmoid(Variable<T> x);  // 1 / (1 + exp(-x))
template <class T>
Variable<T> exp(Variable<T> x);
// max(x, floor); the gradient passes where x >= floor.
template <class T>
Variable<T> clamp_min(Variable<T> x, T floor);
// The same value, through which no gradient flows.
template <class T>
Variable<T> detach(Variable<T> x);

}  // namespace tt
