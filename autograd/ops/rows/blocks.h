#pragma once
// For each row i: k vectors of its own, the blocks U_i = [k, d], against one. blocks: [m, k * d], v: [m, d].

#include <twotower/autograd/tape.h>

namespace tt {

template <class T>
Variable<T> block_dot(Variable<T> blocks, Variable<T> v);  // U_i v_i       -> [m, k]
template <class T>
Variable<T> block_combine(Variable<T> weights, Variable<T> blocks);  // U_i^T w_i -> [m, d]

}  // namespace tt
