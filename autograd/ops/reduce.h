#pragma once
// Ops that make many numbers into fewer, and row-wise ones that look at a whole row.

#include <twotower/autograd/tape.h>

namespace tt {

template <class T>
Variable<T> sum(Variable<T> x);  // [1]
template <class T>
Variable<T> mean(Variable<T> x);  // [1]
// The largest element, [1]. Elements that tie for it share its gradient evenly.
template <class T>
Variable<T> max(Variable<T> x);

template <class T>
Variable<T> softmax_rows(Variable<T> x);  // each row of [m, n] sums to 1
template <class T>
Variable<T> row_dot(Variable<T> a, Variable<T> b);  // [m, d], [m, d] -> [m, 1]
template <class T>
Variable<T> l2_normalize(Variable<T> x);  // each row / max(its length, 1e-12)
// (x - mean) / sqrt(variance + 1e-5) * gain + bias over each row (Ba et al. 2016); gain, bias: [n].
template <class T>
Variable<T> layer_norm(Variable<T> x, Variable<T> gain, Variable<T> bias);

// x: [N, d] holds segments of rows, segment s at [offsets[s], offsets[s+1]); result [S, d]. An empty segment gives 0.
template <class T>
Variable<T> segment_mean(Variable<T> x, Tensor<const int64_t> offsets);
// The first row of each segment (zeros for an empty one).
template <class T>
Variable<T> segment_first(Variable<T> x, Tensor<const int64_t> offsets);

// For each row i: its blocks U_i = [k, d] against a vector. blocks: [m, k*d], v: [m, d].
template <class T>
Variable<T> block_dot(Variable<T> blocks, Variable<T> v);  // U_i v_i       -> [m, k]
template <class T>
Variable<T> block_combine(Variable<T> weights, Variable<T> blocks);  // U_i^T w_i -> [m, d]

}  // namespace tt
