#pragma once
// Ops that bring each row of [m, n] to a common scale.

#include <twotower/autograd/tape.h>

namespace tt {

template <class T>
Variable<T> l2_normalize(Variable<T> x);  // each row / max(its length, 1e-12)
// (x - mean) / sqrt(variance + 1e-5) * gain + bias over each row (Ba et al. 2016); gain, bias: [n].
template <class T>
Variable<T> layer_norm(Variable<T> x, Variable<T> gain, Variable<T> bias);

}  // namespace tt
