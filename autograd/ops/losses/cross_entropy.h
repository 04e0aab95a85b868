#pragma once
// Losses on given targets.

#include <twotower/autograd/tape.h>

namespace tt {

// Binary cross-entropy of sigmoid(logits) with soft targets in [0, 1], mean over all elements, computed from
// the logits so that it cannot overflow: max(x, 0) - x*t + log(1 + exp(-|x|)).
template <class T>
Variable<T> bce_with_logits(Variable<T> logits, Tensor<const T> targets);

// The same where a positive target needs that the row was looked at, with probability examination_i in (0, 1]
// [m] (the examination hypothesis; Richardson et al. 2007, "Predicting clicks"): binary cross-entropy of p =
// examination_i * sigmoid(logits_ij), without the constant -target * log(examination_i). logits, targets: [m,
// n].
template <class T>
Variable<T> examined_bce_with_logits(Variable<T> logits, Tensor<const T> targets, Tensor<const T> examination);

// -log softmax(scores_i)[target_i] for each row: [m, n] -> [m]. A score of -inf takes no part.
template <class T>
Variable<T> cross_entropy(Variable<T> scores, Tensor<const int64_t> targets);

}  // namespace tt
