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
//
// A row whose position is unknown (-1) says nothing of P and takes no part in its loss; its ep is the mean of P over
// the batch's other rows, as if it had stood in any of their slots (in a batch without any, P of the first slot).
//
// An estimate near zero would make one row so heavy that the rest of its batch, which is divided by the heaviest,
// counts for nothing: v / e is cut off at `debias_cap` times its median over the batch's rows with value (truncated
// importance weights: Ionides 2008, "Truncated importance sampling"; Bottou et al. 2013, "Counterfactual reasoning and
// learning systems"). At least half of those rows then weigh 1 / debias_cap or more.

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
    Variable<T> value;  // v / max(e, floor), capped: [B, 1]
    Variable<T> loss;   // [1]
  };
  // value: v [B], constants; u: [B, DI].
  Output operator()(Tape<T>& tape, Tensor<const T> value, Tensor<const int32_t> position, Variable<T> u) const;

  // How likely each row's slot is looked at, relative to the first: P[position] / P[0] within [0.01, 1], [B].
  // Of an unknown slot it is the batch's mean, as above. Constants to the gradient; empty if the model does not debias
  // by position.
  Tensor<const T> examination(Tape<T>& tape, Tensor<const int32_t> position) const;

  const Parameter<T>* position_parameter() const { return position_; }  // null without position debiasing

  // The learned examination curve P [100], empty if the model does not debias by position.
  Tensor<const T> position_curve() const { return position_ ? Tensor<const T>(position_->value) : Tensor<const T>(); }

 private:
  struct Slots {
    Tensor<const int64_t> bucket;  // [B] rows of P, -1 where unknown
    int64_t known;                 // how many are not
    T mean;                        // of P over those, or P of the first slot
  };
  Slots slots(Tape<T>& tape, Tensor<const int32_t> position, int64_t rows) const;
  Variable<T> capped(Tape<T>& tape, Variable<T> value) const;

  bool gradient_, sum_;
  T cap_;                             // 0: none
  Parameter<T>* position_ = nullptr;  // P [100, 1]
  std::optional<Linear<T>> user_;
};

// What a ranker's logits [B, T] lose against the labels [B, T]: binary cross-entropy, with examination [B]
// that of examination x sigmoid(logit).
template <class T>
Variable<T> label_loss(Variable<T> logits, Tensor<const T> labels, Tensor<const T> examination);

}  // namespace tt
