#pragma once
// Takes out of the net user value v what position and user alone explain: weights come from v / e, with e
// what one would expect whatever the item.
//
//   position        e = P[position]                                   loss (e - v)^2
//   user            e = max(Linear(u), 0.1)                           loss (e - v)^2
//   position+user   ep = P[position], e = Linear(concat[u, ep])       loss (ep - v)^2 + (e - v)^2
//
// By default the divisor is a constant to the gradient (the softmax loss could shrink itself by inflating e),
// u is a constant to the estimate, and losses are means over the batch.

#include <twotower/layers/linear.h>
#include <twotower/models/batch.h>
#include <twotower/models/config.h>

#include <optional>

namespace tt {

inline constexpr int64_t kPositions = 100;  // later positions share the last bucket

template <class T>
class Debias {
 public:
  Debias(ParameterSet<T>& parameters, const ModelConfig& config);

  struct Output {
    Variable<T> value;  // v / max(e, floor): [B]
    Variable<T> loss;   // [1]
  };
  // value: v [B], constants; u: [B, DI].
  Output operator()(Tape<T>& tape, Tensor<const T> value, Tensor<const int32_t> position, Variable<T> u) const;

  // How likely each row's slot is looked at, relative to the first: P[position] / P[0] within [0.01, 1], [B].
  // Constants to the gradient; empty if the model does not debias by position.
  Tensor<const T> examination(Tape<T>& tape, Tensor<const int32_t> position) const;

  const Parameter<T>* position_parameter() const { return position_; }  // null without position debiasing

  // The learned examination curve P [100], empty if the model does not debias by position.
  Tensor<const T> position_curve() const { return position_ ? Tensor<const T>(position_->value) : Tensor<const T>(); }

 private:
  // Rows of P for the batch's positions.
  Tensor<const int64_t> buckets(Tape<T>& tape, Tensor<const int32_t> position, int64_t rows) const;

  bool gradient_, sum_;
  Parameter<T>* position_ = nullptr;  // P [100, 1]
  std::optional<Linear<T>> user_;
};

// What a ranker's logits [B, T] lose against the labels [B, T]: binary cross-entropy, with examination [B]
// that of examination x sigmoid(logit).
template <class T>
Variable<T> label_loss(Variable<T> logits, Tensor<const T> labels, Tensor<const T> examination);

}  // namespace tt
