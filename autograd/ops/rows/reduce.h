#pragma once
// Ops that make many numbers into fewer.

#include <twotower/autograd/tape.h>

namespace tt {

template <class T>
Variable<T> sum(Variable<T> x);  // [1]
template <class T>
Variable<T> mean(Variable<T> x);  // [1]
// Over one axis of a matrix [m, n]: axis 0 adds up the rows, result [n]; axis 1 the columns, result [m, 1]. In the
// shapes in which arithmetic.h spreads them over a matrix again.
template <class T>
Variable<T> sum(Variable<T> x, int axis);
template <class T>
Variable<T> mean(Variable<T> x, int axis);
// The largest element, [1]. Elements that tie for it share its gradient evenly.
template <class T>
Variable<T> max(Variable<T> x);
template <class T>
Variable<T> row_dot(Variable<T> a, Variable<T> b);  // [m, d], [m, d] -> [m, 1]

}  // namespace tt
