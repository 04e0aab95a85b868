#pragma once
// A linear layer in one pass over its rows.

#include <twotower/autograd/tape.h>

#include <initializer_list>

namespace tt {

// What follows a linear layer in the same pass over its output.
enum class Activation { none, relu };

// y = activation( concat[x_0, x_1, ...] * W^T + b ), with x_i: [m, k_i], W: [n, sum k_i], b: [n] or absent; y: [m, n].
// The concatenation is never formed: each x_i meets its own columns of W in place. 1 to 6 blocks.
// Its unfused reference is relu(matmul(concat_columns(x), W, true) + b).
template <class T>
Variable<T> linear(std::initializer_list<Variable<T>> x, Variable<T> w, Variable<T> b,
                   Activation activation = Activation::none);
template <class T>
Variable<T> linear(const Variable<T>* x, int count, Variable<T> w, Variable<T> b,
                   Activation activation = Activation::none);

}  // namespace tt
