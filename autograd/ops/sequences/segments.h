#pragma once
// Ops over sequences of rows stored one after another, without padding: x: [N, d], sequence s is rows
// [offsets[s], offsets[s + 1]) of it, in a history row 0 the newest. Offsets must begin at 0, never fall and end at N.

#include <twotower/autograd/tape.h>

namespace tt {

// The mean of each sequence's rows: [S, d]. An empty one gives 0.
template <class T>
Variable<T> segment_mean(Variable<T> x, Tensor<const int64_t> offsets);
// Of each row the mean of itself and all older rows of its sequence, which are those from it on: [N, d].
template <class T>
Variable<T> prefix_mean(Variable<T> x, Tensor<const int64_t> offsets);
// The first row of each (zeros for an empty one): [S, d].
template <class T>
Variable<T> segment_first(Variable<T> x, Tensor<const int64_t> offsets);
// Rows of x: [S, d] that belong to an empty sequence become zero.
template <class T>
Variable<T> zero_if_empty(Variable<T> x, Tensor<const int64_t> offsets);
// Row r of a sequence is added row capacity - 1 - r of `encoding` [capacity, d], a constant: the newest item always
// meets the same row, however long the history is.
template <class T>
Variable<T> add_positional(Variable<T> x, Tensor<const int64_t> offsets, Tensor<const T> encoding);

}  // namespace tt
