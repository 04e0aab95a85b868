#pragma once
// Losses on given targets.

#include "autograd/tape.h"

namespace tt {

// Binary cross-entropy of sigmoid(logits) with soft targets in [0, 1], mean over all elements, computed from the
// logits so that it cannot overflow: max(x, 0) - x*t + log(1 + exp(-|x|)).
template <class T>
Variable<T> bce_with_logits(Variable<T> logits, Tensor<const T> targets);

// -log softmax(scores_i)[target_i] for each row: [m, n] -> [m]. A score of -inf takes no part.
template <class T>
Variable<T> cross_entropy(Variable<T> scores, Tensor<const int64_t> targets);

}  // namespace tt
