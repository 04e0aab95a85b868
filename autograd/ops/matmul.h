#pragma once
// Ops that are matrix products.

#include <twotower/autograd/tape.h>

#include <initializer_list>

namespace tt {

// a: [m, k]; b: [k, n], or [n, k] with transpose_b. Result [m, n].
template <class T>
Variable<T> matmul(Variable<T> a, Variable<T> b, bool transpose_b = false);

// What follows a linear layer in the same pass over its output.
enum class Activation { none, relu };

// y = activation( concat[x_0, x_1, ...] * W^T + b ), with x_i: [m, k_i], W: [n, sum k_i], b: [n] or absent; y: [m, n].
// The concatenation is never formed: each x_i meets its own columns of W in place.
// Its unfused reference is relu(add_bias(matmul(concat_columns(x), W, true), b)).
template <class T>
Variable<T> linear(std::initializer_list<Variable<T>> x, Variable<T> w, Variable<T> b,
                   Activation activation = Activation::none);
template <class T>
Variable<T> linear(const Variable<T>* x, int count, Variable<T> w, Variable<T> b,
                   Activation activation = Activation::none);

// x: [m, n] + b: [n] on every row.
template <class T>
Variable<T> add_bias(Variable<T> x, Variable<T> b);

// [m, k_0], [m, k_1], ... side by side: [m, sum k_i].
template <class T>
Variable<T> concat_columns(std::initializer_list<Variable<T>> x);

// Columns [begin, end) of x: [m, end - begin].
template <class T>
Variable<T> slice_columns(Variable<T> x, int64_t begin, int64_t end);

}  // namespace tt
