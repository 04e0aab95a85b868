#pragma once
// Softmax over each row of [m, n].

#include <twotower/autograd/tape.h>

namespace tt {

// exp(x_j) / sum_k exp(x_k): every row sums to 1. An element of -inf gives 0.
template <class T>
Variable<T> softmax_rows(Variable<T> x);
// Its logarithm, x_j - log sum_k exp(x_k), which does not underflow.
template <class T>
Variable<T> log_softmax_rows(Variable<T> x);

}  // namespace tt
