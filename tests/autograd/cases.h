#pragma once
// One entry an op: a small computation that uses it, with values away from its kinks. The gradient checks and the
// comparison of float with double both go through this list.

#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/losses/alignment_losses.h>
#include <twotower/autograd/ops/losses/cross_entropy.h>
#include <twotower/autograd/ops/losses/list_losses.h>
#include <twotower/autograd/ops/losses/lists.h>
#include <twotower/autograd/ops/losses/retrieval_losses.h>
#include <twotower/autograd/ops/matrix/linear.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/rows/blocks.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/rows/normalize.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/autograd/ops/rows/softmax.h>
#include <twotower/autograd/ops/sequences/attention.h>
#include <twotower/autograd/ops/sequences/segments.h>
#include <twotower/tensor/random.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace tt::testing {

template <class T>
using Inputs = std::vector<Variable<T>>;

struct Case {
  std::string op;             // the op it is about
  std::vector<Shape> inputs;  // filled with normals, by default
  std::function<Variable<float>(Tape<float>&, const Inputs<float>&)> in_float;
  std::function<Variable<double>(Tape<double>&, const Inputs<double>&)> in_double;
  bool positive = false;       // inputs in [0.5, 1.5] instead
  bool last_positive = false;  // only the last one: a temperature or divisor
};

// Constants that cases share; they outlive every tape.
inline const int64_t kOffsets[] = {0, 3, 3, 4, 9};  // sequences of 3, 0, 1 and 5 rows
inline const int64_t kIds[] = {2, 0, -1, 2, 4};
inline const int64_t kTargets[] = {1, 0, 4};
inline const int64_t kOwnColumns[] = {0, 1, 2};
inline const int64_t kExcludeOffsets[] = {0, 2, 2, 3};
inline const int32_t kExcludeColumns[] = {1, 4, 0};

inline const int64_t kListOffsets[] = {0, 3, 3, 7};
inline const int32_t kListColumns[] = {4, 1, 4, 0, 3, 1, 0};  // some twice in a row, one in none

inline Tensor<const int64_t> offsets() { return {kOffsets, {5}}; }
inline Exclusions exclusions() { return {{kExcludeOffsets, {4}}, {kExcludeColumns, {3}}}; }
inline Lists lists() { return {{kListOffsets, {4}}, {kListColumns, {7}}}; }

template <class T>
Tensor<const T> numbers(Tape<T>& tape, const Shape& shape, uint64_t stream, bool unit = false) {
  const Tensor<T> x = make_tensor<T>(tape.arena(), shape);
  const Philox random(11, stream);
  for (int64_t i = 0; i < x.numel(); ++i)
    x[i] = static_cast<T>(
        static_cast<float>(unit ? random.uniform(static_cast<uint64_t>(i)) : random.normal(static_cast<uint64_t>(i))));
  return x;
}

// For the entries of offsets(): one is missing in the first and last sequence, and all of the third.
template <class T>
Tensor<const T> with_gaps(Tape<T>& tape, uint64_t stream) {
  const Tensor<const T> all = numbers<T>(tape, {9}, stream);
  const Tensor<T> x = make_tensor<T>(tape.arena(), {9});
  std::copy(all.begin(), all.end(), x.begin());
  for (const int64_t k : {1, 3, 6}) x[k] = std::numeric_limits<T>::quiet_NaN();
  return x;
}

template <class T>
Candidates<T> candidates(Tape<T>& tape, bool corrected_positive, int64_t hard) {
  Candidates<T> c;
  c.log_q = numbers<T>(tape, {5}, 77);
  c.positive_uncorrected = !corrected_positive;
  c.exclude = exclusions();
  c.hard_negatives = hard;
  return c;
}

template <class T>
Candidates<T> several_positives() {
  static const int64_t offsets[] = {0, 2, 3, 6};
  static const int32_t columns[] = {0, 3, 4, 0, 1, 2};
  Candidates<T> c;
  c.positives = {{offsets, {4}}, {columns, {6}}};
  return c;
}

template <class T>
PairValue<T> pair_value(Tape<T>& tape) {
  return {numbers<T>(tape, {5}, 78), T(0.7), exclusions()};
}

template <class T>
Anchor<T> anchor(Tape<T>& tape) {
  return {numbers<T>(tape, {3, 4}, 79), numbers<T>(tape, {5, 4}, 80), T(1.3)};
}

#define TT_CASE(NAME, SHAPES, ...)                        \
  Case {                                                  \
    NAME, SHAPES,                                         \
        [](Tape<float>& tape, const Inputs<float>& x) {   \
          using T [[maybe_unused]] = float;               \
          (void)tape;                                     \
          return __VA_ARGS__;                             \
        },                                                \
        [](Tape<double>& tape, const Inputs<double>& x) { \
          using T [[maybe_unused]] = double;              \
          (void)tape;                                     \
          return __VA_ARGS__;                             \
        }                                                 \
  }
#define TT_SHAPES(...) \
  std::vector<Shape> { __VA_ARGS__ }

inline Case positive(Case c) {
  c.positive = true;
  return c;
}
inline Case last_positive(Case c) {
  c.last_positive = true;
  return c;
}

inline std::vector<Case> cases() {
  using S = Shape;
  return {
      TT_CASE("add", TT_SHAPES(S{3, 4}, S{3, 4}), x[0] + x[1]),
      TT_CASE("add", TT_SHAPES(S{3, 4}, S{4}), x[1] + x[0]),
      TT_CASE("add", TT_SHAPES(S{3, 4}, S{3, 1}), x[0] + x[1]),
      TT_CASE("add", TT_SHAPES(S{3, 4}, S{1}), x[0] + x[1]),
      TT_CASE("subtract", TT_SHAPES(S{3, 4}, S{3, 4}), x[0] - x[1]),
      TT_CASE("subtract", TT_SHAPES(S{3, 4}, S{4}), x[0] - x[1]),
      TT_CASE("multiply", TT_SHAPES(S{3, 4}, S{3, 4}), x[0] * x[1]),
      TT_CASE("multiply", TT_SHAPES(S{3, 4}, S{4}), x[1] * x[0]),
      TT_CASE("multiply", TT_SHAPES(S{3, 4}, S{3, 1}), x[0] * x[1]),
      TT_CASE("multiply", TT_SHAPES(S{3, 4}, S{1}), x[0] * x[1]),
      positive(TT_CASE("divide", TT_SHAPES(S{3, 4}, S{3, 4}), x[0] / x[1])),
      positive(TT_CASE("divide", TT_SHAPES(S{3, 4}, S{3, 1}), x[0] / x[1])),
      positive(TT_CASE("divide", TT_SHAPES(S{3, 4}, S{1}), x[0] / x[1])),
      TT_CASE("scale", TT_SHAPES(S{7}), x[0] * T(-1.7)),
      TT_CASE("shift", TT_SHAPES(S{3, 4}), square(T(1.2) - x[0])),
      TT_CASE("square", TT_SHAPES(S{5}), square(x[0])),
      positive(TT_CASE("sqrt", TT_SHAPES(S{3, 5}), sqrt(x[0]))),
      TT_CASE("exp", TT_SHAPES(S{3, 5}), exp(x[0])),
      positive(TT_CASE("log", TT_SHAPES(S{3, 5}), log(x[0]))),
      TT_CASE("tanh", TT_SHAPES(S{3, 5}), tanh(x[0])),
      TT_CASE("sigmoid", TT_SHAPES(S{3, 5}), sigmoid(x[0])),
      TT_CASE("softplus", TT_SHAPES(S{3, 5}), softplus(x[0])),
      TT_CASE("relu", TT_SHAPES(S{3, 5}), relu(x[0])),
      TT_CASE("gelu", TT_SHAPES(S{3, 5}), gelu(x[0])),
      TT_CASE("clamp_min", TT_SHAPES(S{3, 5}), clamp_min(x[0], T(0.05))),
      TT_CASE("dropout", TT_SHAPES(S{6, 5}), dropout(x[0], 0.4, Philox(3))),
      TT_CASE("reshape", TT_SHAPES(S{3, 4}), square(reshape(x[0], S{2, 6}))),
      TT_CASE("transpose", TT_SHAPES(S{3, 4}), transpose(x[0])),
      TT_CASE("matmul", TT_SHAPES(S{3, 4}, S{4, 2}), matmul(x[0], x[1])),
      TT_CASE("matmul", TT_SHAPES(S{3, 4}, S{2, 4}), matmul(x[0], x[1], true)),
      TT_CASE("linear", TT_SHAPES(S{3, 4}, S{3, 2}, S{5, 6}, S{5}), linear({x[0], x[1]}, x[2], x[3])),
      TT_CASE("linear", TT_SHAPES(S{3, 4}, S{5, 4}, S{5}), linear({x[0]}, x[1], x[2], Activation::relu)),
      TT_CASE("linear", TT_SHAPES(S{3, 4}, S{5, 4}), linear({x[0]}, x[1], Variable<T>())),
      TT_CASE("linear", TT_SHAPES(S{3, 4}, S{5, 8}, S{5}), linear({x[0], x[0]}, x[1], x[2])),
      TT_CASE("linear", TT_SHAPES(S{4, 4}, S{4}), linear({x[0]}, x[0], x[1])),
      TT_CASE("concat_columns", TT_SHAPES(S{3, 4}, S{3, 1}), concat_columns({x[0], x[1], x[0]})),
      TT_CASE("slice_columns", TT_SHAPES(S{3, 5}), slice_columns(x[0], 1, 4)),
      TT_CASE("sum", TT_SHAPES(S{3, 5}), sum(x[0])),
      TT_CASE("mean", TT_SHAPES(S{3, 5}), mean(x[0])),
      TT_CASE("sum_axis", TT_SHAPES(S{3, 5}), sum(x[0], 0)),
      TT_CASE("sum_axis", TT_SHAPES(S{3, 5}), mean(x[0], 1)),
      TT_CASE("max", TT_SHAPES(S{3, 5}), max(x[0])),
      TT_CASE("softmax_rows", TT_SHAPES(S{3, 5}), softmax_rows(x[0])),
      TT_CASE("log_softmax_rows", TT_SHAPES(S{3, 5}), log_softmax_rows(x[0])),
      TT_CASE("row_dot", TT_SHAPES(S{3, 5}, S{3, 5}), row_dot(x[0], x[1])),
      TT_CASE("l2_normalize", TT_SHAPES(S{3, 5}), l2_normalize(x[0])),
      TT_CASE("layer_norm", TT_SHAPES(S{3, 5}, S{5}, S{5}), layer_norm(x[0], x[1], x[2])),
      TT_CASE("segment_mean", TT_SHAPES(S{9, 4}), segment_mean(x[0], offsets())),
      TT_CASE("prefix_mean", TT_SHAPES(S{9, 4}), prefix_mean(x[0], offsets())),
      TT_CASE("segment_first", TT_SHAPES(S{9, 4}), segment_first(x[0], offsets())),
      TT_CASE("block_dot", TT_SHAPES(S{3, 8}, S{3, 4}), block_dot(x[0], x[1])),
      TT_CASE("block_combine", TT_SHAPES(S{3, 2}, S{3, 8}), block_combine(x[0], x[1])),
      TT_CASE("embedding", TT_SHAPES(S{5, 3}), embedding(x[0], Tensor<const int64_t>(kIds, {5}))),
      TT_CASE("embedding", TT_SHAPES(S{5, 3}), embedding(x[0], Tensor<const int64_t>(kIds, {5}), TableGradient::dense)),
      TT_CASE("embedding", TT_SHAPES(S{5, 3}),
              matmul(embedding(x[0], Tensor<const int64_t>(kIds, {5})), x[0], /*transpose_b=*/true)),
      TT_CASE("slice_rows", TT_SHAPES(S{5, 3}), slice_rows(x[0], 1, 4)),
      TT_CASE("slice_rows", TT_SHAPES(S{5}), slice_rows(x[0], 2, 5)),
      TT_CASE("concat_rows", TT_SHAPES(S{2, 3}, S{4, 3}), concat_rows(x[0], x[1])),
      TT_CASE("add_positional", TT_SHAPES(S{9, 4}), add_positional(x[0], offsets(), numbers<T>(tape, {6, 4}, 76))),
      TT_CASE("multihead_attention", TT_SHAPES(S{9, 6}, S{18, 6}, S{18}, S{6, 6}, S{6}),
              multihead_attention(x[0], x[1], x[2], x[3], x[4], offsets(), 2)),
      TT_CASE("multihead_attention", TT_SHAPES(S{9, 6}, S{18, 6}, S{18}, S{6, 6}, S{6}, S{2, 7}),
              multihead_attention(x[0], x[1], x[2], x[3], x[4], offsets(), 2, x[5])),
      TT_CASE("attention_reference", TT_SHAPES(S{9, 18}, S{2, 7}),
              attention_reference(x[0], offsets(), 2, x[1])),
      TT_CASE("newest_attention", TT_SHAPES(S{4, 6}, S{9, 6}, S{18, 6}, S{18}, S{3, 7}),
              newest_attention(x[0], x[1], x[2], x[3], offsets(), 3, x[4])),
      TT_CASE("attention_reference", TT_SHAPES(S{9, 18}), attention_reference(x[0], offsets(), 2)),
      TT_CASE("newest_attention", TT_SHAPES(S{4, 6}, S{9, 6}, S{18, 6}, S{18}),
              newest_attention(x[0], x[1], x[2], x[3], offsets(), 3)),
      TT_CASE("zero_if_empty", TT_SHAPES(S{4, 3}), zero_if_empty(x[0], offsets())),
      TT_CASE("bce_with_logits", TT_SHAPES(S{3, 2}), bce_with_logits(x[0], numbers<T>(tape, {3, 2}, 75, true))),
      TT_CASE("examined_bce_with_logits", TT_SHAPES(S{3, 2}),
              examined_bce_with_logits(x[0], numbers<T>(tape, {3, 2}, 75, true), numbers<T>(tape, {3}, 79, true))),
      TT_CASE("cross_entropy", TT_SHAPES(S{3, 5}), cross_entropy(x[0], Tensor<const int64_t>(kTargets, {3}))),
      last_positive(TT_CASE("candidate_scores", TT_SHAPES(S{3, 5}, S{1}),
                            cross_entropy(candidate_scores(x[0], x[1], candidates<T>(tape, true, 0)),
                                          Tensor<const int64_t>(kOwnColumns, {3})))),
      positive(TT_CASE("in_batch_softmax", TT_SHAPES(S{3, 4}, S{5, 4}, S{1}, S{3}),
                       in_batch_softmax(x[0], x[1], x[2], x[3], candidates<T>(tape, true, 0)))),
      positive(TT_CASE("in_batch_softmax", TT_SHAPES(S{3, 4}, S{5, 4}, S{1}, S{3}),
                       in_batch_softmax(x[0], x[1], x[2], x[3], candidates<T>(tape, false, 2)))),
      positive(TT_CASE("in_batch_softmax", TT_SHAPES(S{3, 4}, S{5, 4}, S{1}, S{3}),
                       in_batch_softmax(x[0], x[1], x[2], x[3], several_positives<T>()))),
      last_positive(
          TT_CASE("alignment_kl", TT_SHAPES(S{3, 4}, S{5, 4}, S{1}),
                  alignment_kl(x[0], x[1], x[2], PairValue<T>{numbers<T>(tape, {5}, 78), T(0), exclusions()}))),
      last_positive(
          TT_CASE("alignment_reward", TT_SHAPES(S{3, 4}, S{5, 4}, S{1}),
                  alignment_reward(x[0], x[1], x[2], PairValue<T>{numbers<T>(tape, {5}, 78), T(0), exclusions()},
                                   anchor<T>(tape), T(0.3)))),
      last_positive(TT_CASE("alignment_dpo", TT_SHAPES(S{3, 4}, S{5, 4}, S{1}),
                            alignment_dpo(x[0], x[1], x[2], PairValue<T>{numbers<T>(tape, {5}, 78), T(0), exclusions()},
                                          anchor<T>(tape), T(0.6)))),
      TT_CASE("list_scores", TT_SHAPES(S{3, 20}, S{5, 20}), list_scores(x[0], x[1], lists())),
      TT_CASE("list_scores", TT_SHAPES(S{5, 4}), list_scores(slice_rows(x[0], 0, 3), x[0], lists())),
      TT_CASE("list_squared_error", TT_SHAPES(S{9}),
              list_squared_error(x[0], offsets(), with_gaps<T>(tape, 81), numbers<T>(tape, {9}, 82, true))),
      TT_CASE("list_margin", TT_SHAPES(S{9}), list_margin(x[0], offsets(), numbers<T>(tape, {9}, 81), {})),
      TT_CASE("list_margin", TT_SHAPES(S{9}),
              list_margin(x[0], offsets(), with_gaps<T>(tape, 81), numbers<T>(tape, {9}, 82, true),
                          numbers<T>(tape, {4}, 83, true))),
      TT_CASE("list_kl", TT_SHAPES(S{9}), list_kl(x[0], offsets(), numbers<T>(tape, {9}, 81), {})),
      TT_CASE("list_kl", TT_SHAPES(S{9}), list_kl(x[0], offsets(), with_gaps<T>(tape, 81), numbers<T>(tape, {9}, 82))),
      TT_CASE("list_reward", TT_SHAPES(S{9}),
              list_reward(x[0], offsets(), numbers<T>(tape, {9}, 81), numbers<T>(tape, {9}, 84), {}, T(0.3))),
      TT_CASE("list_reward", TT_SHAPES(S{9}),
              list_reward(x[0], offsets(), with_gaps<T>(tape, 81), numbers<T>(tape, {9}, 84), numbers<T>(tape, {9}, 82),
                          T(0.3))),
      TT_CASE("list_dpo", TT_SHAPES(S{9}),
              list_dpo(x[0], offsets(), numbers<T>(tape, {9}, 81), numbers<T>(tape, {9}, 84), T(0.6), 1)),
      TT_CASE("list_dpo", TT_SHAPES(S{9}),
              list_dpo(x[0], offsets(), with_gaps<T>(tape, 81), numbers<T>(tape, {9}, 84), T(0.6), 3)),
  };
}

#undef TT_CASE
#undef TT_SHAPES

// Values for a case's inputs: the same numbers in float and in double.
template <class T>
void fill(const Case& c, size_t input, Tensor<T> x) {
  const Philox random(5, input);
  const bool positive = c.positive || (c.last_positive && input + 1 == c.inputs.size());
  for (int64_t i = 0; i < x.numel(); ++i) {
    const auto index = static_cast<uint64_t>(i);
    x[i] = static_cast<T>(static_cast<float>(positive ? 0.5 + random.uniform(index) : random.normal(index)));
  }
}

}  // namespace tt::testing
