#pragma once
// The matrix product.

#include <twotower/autograd/tape.h>

namespace tt {

// a: [m, k]; b: [k, n], or [n, k] with transpose_b. Result [m, n].
template <class T>
Variable<T> matmul(Variable<T> a, Variable<T> b, bool transpose_b = false);

}  // namespace tt
