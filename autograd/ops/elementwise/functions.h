#pragma once
// Functions of one variable, applied to each element.

#include <twotower/autograd/tape.h>
#include <twotower/tensor/random.h>

#include <type_traits>

namespace tt {

template <class T>
Variable<T> square(Variable<T> x);
template <class T>
Variable<T> sqrt(Variable<T> x);  // the gradient at 0 is infinite
template <class T>
Variable<T> exp(Variable<T> x);
template <class T>
Variable<T> log(Variable<T> x);
template <class T>
Variable<T> tanh(Variable<T> x);
template <class T>
Variable<T> sigmoid(Variable<T> x);  // 1 / (1 + exp(-x))
template <class T>
Variable<T> softplus(Variable<T> x);  // log(1 + exp(x)), which does not overflow
template <class T>
Variable<T> relu(Variable<T> x);  // max(x, 0); NaN stays NaN
template <class T>
Variable<T> gelu(Variable<T> x);  // x * Phi(x), exact (Hendrycks & Gimpel 2016)
// max(x, floor); the gradient passes where x >= floor.
template <class T>
Variable<T> clamp_min(Variable<T> x, std::type_identity_t<T> floor);
// Dropout (Srivastava et al. 2014): an element becomes 0 with this probability in [0, 1) and is otherwise scaled up by
// 1 / (1 - probability). Element i's fate is random.bits(first + i): the same for any number of threads.
template <class T>
Variable<T> dropout(Variable<T> x, double probability, const Philox& random, uint64_t first = 0);
// The same value, through which no gradient flows.
template <class T>
Variable<T> detach(Variable<T> x);

}  // namespace tt
