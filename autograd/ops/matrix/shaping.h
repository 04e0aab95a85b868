#pragma once
// Other views of the same numbers, and matrices put together from others or cut out of them.

#include <twotower/autograd/tape.h>

#include <initializer_list>

namespace tt {

// The same elements in another shape, of as many: a view of the same memory.
template <class T>
Variable<T> reshape(Variable<T> x, const Shape& shape);
template <class T>
Variable<T> transpose(Variable<T> x);  // [m, n] -> [n, m]

// Rows [begin, end) of x, [m, n] or [m], as a view of the same memory.
template <class T>
Variable<T> slice_rows(Variable<T> x, int64_t begin, int64_t end);
// Columns [begin, end) of x: [m, end - begin].
template <class T>
Variable<T> slice_columns(Variable<T> x, int64_t begin, int64_t end);

// a over b: [m, d], [n, d] -> [m + n, d].
template <class T>
Variable<T> concat_rows(Variable<T> a, Variable<T> b);
// [m, k_0], [m, k_1], ... side by side: [m, sum k_i]. 1 to 8 of them.
template <class T>
Variable<T> concat_columns(std::initializer_list<Variable<T>> x);

}  // namespace tt
