// Ops that cut their work into blocks, at sizes where they really do, against their unfused references. The gradient
// checks (test_gradcheck.cc) see the same code at sizes of one block.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/matrix/linear_blocks.h>
#include <twotower/autograd/ops/sequences/sequence_groups.h>
#include <twotower/tensor/kernels/attention/attention_body.h>
#include <twotower/tensor/kernels/in_batch/panels.h>

#include <cmath>

#include "tests/autograd/cases.h"

using namespace tt;

namespace {

using Numbers = std::vector<double>;

// The value of f(tape, inputs) and its gradients, for normal inputs (the last one positive) and a random upstream.
template <class T, class F>
Numbers run(const std::vector<Shape>& shapes, F&& f) {
  Pool pool;
  Arena arena;
  Tape<T> tape(arena);
  testing::Case c;
  c.inputs = shapes;
  c.last_positive = true;
  testing::Inputs<T> inputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Tensor<T> x = make_tensor<T>(pool, shapes[i]);
    testing::fill(c, i, x);
    inputs.push_back(tape.variable(x));
  }
  const Variable<T> y = f(tape, inputs);
  const Gradients<T> gradients = tape.backward(y, testing::numbers<T>(tape, y.shape(), 99));
  Numbers all;
  for (const T v : y.value()) all.push_back(static_cast<double>(v));
  for (const auto& x : inputs)
    for (const T g : gradients.of(x)) all.push_back(static_cast<double>(g));
  return all;
}

// The largest difference, as a share of the largest number.
double apart(const Numbers& a, const Numbers& b) {
  REQUIRE(a.size() == b.size());
  double most = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    most = std::isnan(a[i]) ? HUGE_VAL : std::max(most, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return most / largest;
}

// fused and reference: generic in T. The fused form in double and in float against the reference in double.
template <class Fused, class Reference>
void compare(const std::vector<Shape>& shapes, Fused fused, Reference reference) {
  const Numbers want = run<double>(shapes, reference);
  CHECK(apart(run<double>(shapes, fused), want) < 1e-11);
  CHECK(apart(run<float>(shapes, fused), want) < 2e-5);
}

}  // namespace

TEST_CASE("blocked paths: linear with more rows than one block a chunk") {
  const int64_t m = kBlockRows * kMaxChunks + 300;  // two blocks a chunk, the last one short
  compare(
      {{m, 5}, {m, 3}, {4, 8}, {4}},
      [](auto&, const auto& x) {
        return linear({x[0], x[1]}, x[2], x[3], Activation::relu);
      },
      [](auto&, const auto& x) {
        return relu(matmul(concat_columns({x[0], x[1]}), x[2], true) + x[3]);
      });
}

TEST_CASE("blocked paths: attention over more than 32 groups and over sequences of several panels") {
  const int64_t dim = 8, heads = 2;
  std::vector<int64_t> offsets{0};
  for (int64_t s = 0; s < 2400; ++s)
    offsets.push_back(offsets.back() + (s == 1000 ? 2 * kernels::kAttentionLanes + 9 : s % 4));
  const int64_t n = offsets.back();
  const Tensor<const int64_t> view(offsets.data(), {static_cast<int64_t>(offsets.size())});
  Arena arena;
  REQUIRE(SequenceGroups(view, dim, arena).count > kMaxChunks);
  const std::vector<Shape> shapes{{n, dim}, {3 * dim, dim}, {3 * dim}, {dim, dim}, {dim}};
  compare(
      shapes, [&](auto&, const auto& x) { return multihead_attention(x[0], x[1], x[2], x[3], x[4], view, heads); },
      [&](auto&, const auto& x) {
        const auto mixed = attention_reference(matmul(x[0], x[1], true) + x[2], view, heads);
        return matmul(mixed, x[3], true) + x[4];
      });
}

TEST_CASE("blocked paths: the in-batch softmax over more than one super-panel") {
  const int64_t b = 230, m = 20000;
  REQUIRE(kernels::super_panel_rows<float>(b, m, false) < b);
  REQUIRE(kernels::super_panel_rows<double>(b, m, false) < b);
  std::vector<int64_t> offsets{0}, targets;
  std::vector<int32_t> columns;
  for (int64_t i = 0; i < b; ++i) {
    targets.push_back(i * 7);
    for (int64_t k = 0; k < i % 3; ++k) columns.push_back(static_cast<int32_t>(i * 7 + 1 + k));
    offsets.push_back(static_cast<int64_t>(columns.size()));
  }
  const auto candidates = [&](auto& tape, auto zero) {
    using T = decltype(zero);
    Candidates<T> c;
    c.log_q = testing::numbers<T>(tape, {m}, 77);
    c.target = {targets.data(), {b}};
    c.exclude = {{offsets.data(), {b + 1}}, {columns.data(), {offsets.back()}}};
    return c;
  };
  compare(
      {{b, 3}, {m, 3}, {b}, {1}},
      [&](auto& tape, const auto& x) {
        return in_batch_softmax(x[0], x[1], x[3], x[2], candidates(tape, x[3].item()));
      },
      [&](auto& tape, const auto& x) {
        const auto scores = candidate_scores(matmul(x[0], x[1], true), x[3], candidates(tape, x[3].item()));
        return mean(cross_entropy(scores, Tensor<const int64_t>(targets.data(), {b})) * x[2]);
      });
}

TEST_CASE("blocked paths: the expected reward over more than one super-panel, with its anchor") {
  const int64_t b = 130, m = 20000;
  REQUIRE(kernels::super_panel_rows<float>(b, m, true) < b);
  REQUIRE(kernels::super_panel_rows<double>(b, m, true) < b);
  const auto anchor = [&](auto& tape, auto zero) {
    using T = decltype(zero);
    return Anchor<T>{testing::numbers<T>(tape, {b, 3}, 79), testing::numbers<T>(tape, {m, 3}, 80), T(1.3)};
  };
  compare(
      {{b, 3}, {m, 3}, {1}},
      [&](auto& tape, const auto& x) {
        using T = decltype(x[2].item() + 0);
        const PairValue<T> value{testing::numbers<T>(tape, {m}, 78), T(0.7), {}};
        return alignment_reward(x[0], x[1], x[2], value, anchor(tape, T(0)), T(0.6));
      },
      [&](auto& tape, const auto& x) {
        using T = decltype(x[2].item() + 0);
        const Anchor<T> frozen = anchor(tape, T(0));
        const auto dots = matmul(x[0], x[1], true);
        const auto value = detach(dots) * T(0.7) + tape.constant(testing::numbers<T>(tape, {m}, 78));
        const auto dots0 = matmul(tape.constant(frozen.u), tape.constant(frozen.v), true);
        const auto log_p = log_softmax_rows(dots / x[2]), log_p0 = log_softmax_rows(dots0 * (T(1) / frozen.tau));
        return sum(exp(log_p) * (value - (log_p - log_p0) * T(0.6))) * (T(-1) / static_cast<T>(b));
      });
}
