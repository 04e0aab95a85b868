// The paths that production takes and small cases never reach: several blocks of rows a chunk, several groups of
// sequences a chunk, several panels. Against the unfused ops in double, and in float with the same bits on 1 and 2
// threads (in double Eigen multiplies, which divides sums by threads).

#include <doctest/doctest.h>
#include <twotower/autograd/ops/arithmetic.h>
#include <twotower/autograd/ops/attention.h>
#include <twotower/autograd/ops/elementwise.h>
#include <twotower/autograd/ops/linear.h>
#include <twotower/autograd/ops/linear_blocks.h>
#include <twotower/autograd/ops/losses.h>
#include <twotower/autograd/ops/matmul.h>
#include <twotower/autograd/ops/reduce.h>
#include <twotower/autograd/ops/retrieval_losses.h>
#include <twotower/autograd/ops/shaping.h>
#include <twotower/tensor/parallel.h>
#include <twotower/tensor/random.h>

#include <cmath>
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

// Differences, as a part of the largest number of their result.
template <class T>
void compare(const Results<T>& found, const Results<double>& expected, double precision) {
  REQUIRE(found.size() == expected.size());
  for (size_t r = 0; r < found.size(); ++r) {
    INFO("result ", r, ", bytes ", sizeof(T));
    REQUIRE(found[r].size() == expected[r].size());
    double largest = 0, worst = 0;
    for (size_t i = 0; i < found[r].size(); ++i) {
      const double error = std::abs(static_cast<double>(found[r][i]) - expected[r][i]);
      worst = error <= worst ? worst : error;  // keeps a NaN
      largest = std::max(largest, std::abs(expected[r][i]));
    }
    CHECK(largest > 0);
    CHECK(worst < precision * largest);
  }
}

template <class Fused, class Unfused>
void check_path(const std::vector<Shape>& shapes, Fused fused, Unfused unfused) {
  const Results<double> expected = run<double>(shapes, unfused, 1);
  const Results<double> in_double = run<double>(shapes, fused, 1);
  const Results<float> in_float = run<float>(shapes, fused, 1);
  compare(in_double, expected, 1e-12);
  compare(in_float, expected, 2e-5);
  compare(run<double>(shapes, fused, 2), expected, 1e-12);
  CHECK(in_float == run<float>(shapes, fused, 2));
}

}  // namespace

TEST_CASE("linear above 8,192 rows: several blocks a chunk") {
  constexpr int64_t kBlock = 256, kRows = kMaxChunks * kBlock + 3 * kBlock + 17;  // two blocks a chunk, the last short
  static_assert(kRows > kMaxChunks * kBlock);
  for (const Activation activation : {Activation::none, Activation::relu})
    check_path(
        {{kRows, 5}, {kRows, 3}, {7, 8}, {7}},
        [&](auto&, const auto& x) {
          return linear({x[0], x[1]}, x[2], x[3], activation);
        },
        [&](auto&, const auto& x) {
          const auto y = matmul(concat_columns({x[0], x[1]}), x[2], true) + x[3];
          return activation == Activation::relu ? relu(y) : y;
        });
}

TEST_CASE("attention above 32 groups of sequences: several groups a chunk") {
  constexpr int64_t kMostGroupRows = 256, kSequences = 1000, kWidth = 12, kHeads = 3;
  std::vector<int64_t> offsets = {0};
  for (uint64_t s = 0; s < kSequences; ++s)  // 0 to 19 rows, and one longer than a group
    offsets.push_back(offsets.back() + (s == 500 ? 300 : static_cast<int64_t>(Philox(3).below(s, 20))));
  const int64_t rows = offsets.back();
  REQUIRE(rows > kMaxChunks * kMostGroupRows);
  const Tensor<const int64_t> all(offsets.data(), {kSequences + 1});
  check_path(
      {{rows, kWidth}, {3 * kWidth, kWidth}, {3 * kWidth}, {kWidth, kWidth}, {kWidth}},
      [&](auto&, const auto& x) { return multihead_attention(x[0], x[1], x[2], x[3], x[4], all, kHeads); },
      [&](auto&, const auto& x) {
        return matmul(attention_reference(matmul(x[0], x[1], true) + x[2], all, kHeads), x[3], true) + x[4];
      });
}

TEST_CASE("in-batch softmax above a panel of rows and 16 MB of scores") {
  constexpr int64_t kBatch = 2100, kColumns = 2300, kWidth = 6;
  static_assert(kBatch * kColumns * 4 > (16 << 20));
  std::vector<int64_t> own(kBatch);
  std::iota(own.begin(), own.end(), 100);
  const Tensor<const int64_t> target(own.data(), {kBatch});
  const auto candidates = [&](auto& tape) {
    using T = std::remove_reference_t<decltype(tape.make({1})[0])>;
    const Tensor<T> log_q = tape.make({kColumns});
    for (int64_t j = 0; j < kColumns; ++j) log_q[j] = static_cast<T>(j % 7) / 4;
    return Candidates<T>{.log_q = log_q, .target = target};
  };
  check_path(
      {{kBatch, kWidth}, {kColumns, kWidth}, {kBatch}},
      [&](auto& tape, const auto& x) {
        return in_batch_softmax(x[0], x[1], tape.scalar(0.5f), x[2], candidates(tape));
      },
      [&](auto& tape, const auto& x) {
        const auto scores = candidate_scores(matmul(x[0], x[1], true), tape.scalar(0.5f), candidates(tape));
        return mean(cross_entropy(scores, target) * x[2]);
      });
}
