// The same bits on 1 and 2 threads where ops cut their work: several blocks of rows a chunk, several groups of
// sequences, several panels. test_blocked_paths.cc compares the same paths with unfused ops.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/elements.h>
#include <twotower/autograd/ops/losses/list_losses.h>
#include <twotower/autograd/ops/losses/lists.h>
#include <twotower/autograd/ops/losses/retrieval_losses.h>
#include <twotower/autograd/ops/matrix/linear.h>
#include <twotower/autograd/ops/matrix/linear_blocks.h>
#include <twotower/autograd/ops/sequences/attention.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <numeric>

using namespace tt;

namespace {

// The output and every input's gradient, a vector each.
template <class T>
using Results = std::vector<std::vector<T>>;

// f(tape, inputs) with inputs and upstream gradient from the same numbers in float and double.
template <class T, class F>
Results<T> run(const std::vector<Shape>& shapes, F f, int threads) {
  const int before = num_threads();
  set_num_threads(threads);
  Pool pool;
  Arena arena;
  Tape<T> tape(arena);
  const auto numbers = [&](const Shape& shape, uint64_t stream, double scale) {
    const Tensor<T> x = make_tensor<T>(pool, shape);
    for (int64_t i = 0; i < x.numel(); ++i)
      x[i] = static_cast<T>(static_cast<float>(scale * Philox(8, stream).normal(static_cast<uint64_t>(i))));
    return x;
  };
  std::vector<Variable<T>> inputs;
  for (const Shape& shape : shapes) inputs.push_back(tape.variable(numbers(shape, inputs.size(), 0.5)));
  const Variable<T> y = f(tape, inputs);
  const Gradients<T> gradients = tape.backward(y, numbers(y.shape(), 99, 1));
  Results<T> results{{y.value().begin(), y.value().end()}};
  for (const Variable<T>& x : inputs) {
    const Tensor<T> dx = gradients.of(x);
    results.emplace_back(dx.begin(), dx.end());
  }
  set_num_threads(before);
  return results;
}

template <class F>
void check_bits(const std::vector<Shape>& shapes, F f) {
  CHECK(run<double>(shapes, f, 1) == run<double>(shapes, f, 2));
  CHECK(run<float>(shapes, f, 1) == run<float>(shapes, f, 2));
}

}  // namespace

TEST_CASE("linear above 8,192 rows has the same bits on two threads") {
  constexpr int64_t kRows = kMaxChunks * 256 + 3 * 256 + 17;
  check_bits({{kRows, 5}, {kRows, 3}, {7, 8}, {7}}, [](auto&, const auto& x) {
    return linear({x[0], x[1]}, x[2], x[3], Activation::relu);
  });
}

TEST_CASE("attention above 32 groups of sequences has the same bits on two threads") {
  constexpr int64_t kSequences = 1000, kWidth = 12;
  std::vector<int64_t> offsets = {0};
  for (uint64_t s = 0; s < kSequences; ++s)  // 0 to 19 rows, and one longer than a group
    offsets.push_back(offsets.back() + (s == 500 ? 300 : static_cast<int64_t>(Philox(3).below(s, 20))));
  const int64_t rows = offsets.back();
  REQUIRE(rows > kMaxChunks * 256);
  const Tensor<const int64_t> all(offsets.data(), {kSequences + 1});
  check_bits({{rows, kWidth}, {3 * kWidth, kWidth}, {3 * kWidth}, {kWidth, kWidth}, {kWidth}},
             [&](auto&, const auto& x) { return multihead_attention(x[0], x[1], x[2], x[3], x[4], all, 3); });
}

TEST_CASE("in-batch softmax above 16 MB of scores has the same bits on two threads") {
  constexpr int64_t kBatch = 2100, kColumns = 2300;
  std::vector<int64_t> own(kBatch);
  std::iota(own.begin(), own.end(), 100);
  check_bits({{kBatch, 6}, {kColumns, 6}, {kBatch}}, [&](auto& tape, const auto& x) {
    using T = std::remove_reference_t<decltype(tape.make({1})[0])>;
    return in_batch_softmax(x[0], x[1], tape.scalar(0.5f), x[2],
                            Candidates<T>{.target = Tensor<const int64_t>(own.data(), {kBatch})});
  });
}

TEST_CASE("losses over lists of several chunks have the same bits on two threads") {
  constexpr int64_t kRows = 200, kColumns = 700, kWidth = 24;
  std::vector<int64_t> offsets = {0};
  std::vector<int32_t> columns;
  for (uint64_t i = 0; i < kRows; ++i)
    offsets.push_back(offsets.back() + (i == 50 ? 900 : static_cast<int64_t>(Philox(4).below(i, 300))));
  for (uint64_t k = 0; k < static_cast<uint64_t>(offsets.back()); ++k)  // a third of them column 5
    columns.push_back(Philox(5).below(k, 3) == 0 ? 5 : static_cast<int32_t>(Philox(6).below(k, kColumns)));
  const int64_t n = offsets.back();
  const Tensor<const int64_t> all(offsets.data(), {kRows + 1});
  const Lists lists{all, {columns.data(), {n}}};
  REQUIRE(n * kWidth > 2 * kElementGrain);
  check_bits({{kRows, kWidth}, {kColumns, kWidth}, {n}, {n}}, [&](auto&, const auto& x) {
    const auto s = list_scores(x[0], x[1], lists);
    using T = std::remove_cvref_t<decltype(s.item())>;
    const Tensor<const T> target = x[2].value(), anchor = x[3].value();
    return list_margin(s, all, target, {}) + list_squared_error(s, all, target, {}) + list_kl(s, all, target, anchor) +
           list_reward(s, all, target, anchor, {}, T(0.1)) + list_dpo(s, all, target, anchor, T(0.3), 3);
  });
}
