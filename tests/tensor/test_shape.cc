// Shapes, and what has a width of 0.

#include <doctest/doctest.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/kernels/attention/attention.h>
#include <twotower/tensor/kernels/in_batch/in_batch.h>
#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/tensor/tensor.h>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

using namespace tt;

namespace {

constexpr int64_t kBig = int64_t{1} << 40;

std::string error_of(std::initializer_list<int64_t> dims) {
  try {
    const Shape shape(dims);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a shape knows its sizes") {
  const Shape shape{2, 3, 4};
  CHECK(shape.rank() == 3);
  CHECK(shape.numel() == 24);
  CHECK(shape.rows() == 6);
  CHECK(shape.cols() == 4);
  CHECK(shape == Shape{2, 3, 4});
  CHECK(shape != Shape{2, 3, 4, 1});
  CHECK(Shape().numel() == 1);
  CHECK(Shape().rows() == 1);
  CHECK(Shape().cols() == 1);
  std::ostringstream text;
  text << shape << Shape();
  CHECK(text.str() == "[2, 3, 4][]");
}

TEST_CASE("a shape refuses what it cannot hold") {
  CHECK(error_of({1, 2, 3, 4, 5}) == "[shape] 5 dimensions; at most 4 are supported");
  CHECK(error_of({2, -3}) == "[shape] dimension 1 is -3; it must not be negative");
  CHECK(error_of({kBig, kBig}) ==
        "[shape] [1099511627776, 1099511627776] has more elements than can be counted; check its sizes");
  CHECK(error_of({INT64_MAX}) == "");
  CHECK(error_of({INT64_MAX, 1}) == "");
  CHECK(error_of({INT64_MAX / 2 + 1, 2}) != "");
  CHECK(error_of({kBig, kBig, 0}) != "");  // no elements, but rows() would overflow
}

TEST_CASE("a tensor of width 0 has rows and no elements") {
  float one = 7;
  const Tensor<float> x(&one, {3, 0});
  CHECK(x.numel() == 0);
  CHECK(x.rows() == 3);
  CHECK(x.cols() == 0);
  CHECK(x.row(2) == x.data());
  CHECK(x.begin() == x.end());
  x.fill(1);
  CHECK(one == 7);
  Arena arena;
  CHECK(make_tensor<float>(arena, {3, 0}).data() != nullptr);
}

TEST_CASE("width 0: products, attention, in-batch losses and search divide by nothing") {
  float nothing = 0;
  std::vector<float> c(6, 5);
  gemm<float>(false, false, 0, 3, 2, 1, &nothing, 2, &nothing, 3, 0, c.data(), 3, nullptr, true);
  gemm<float>(false, false, 2, 0, 2, 1, &nothing, 2, &nothing, 0, 0, c.data(), 0, c.data(), true);
  CHECK(c == std::vector<float>(6, 5));

  const int64_t offsets[] = {0, 2, 5};
  kernels::attention_forward(&nothing, offsets, 2, 0, 1, &nothing, &nothing);

  kernels::InBatchSoftmax in;
  in.b = 3, in.m = 4, in.d = 0, in.u = in.v = &nothing;
  kernels::in_batch_softmax(in, c.data());
  for (int i = 0; i < 3; ++i) CHECK(c[static_cast<size_t>(i)] == doctest::Approx(std::log(4.0)));

  for (const int64_t q : {1, 9}) {  // all products are 0: the smallest rows win
    std::vector<int64_t> rows(static_cast<size_t>(3 * q));
    std::vector<float> scores(static_cast<size_t>(3 * q), 1);
    kernels::mips_topk(&nothing, q, &nothing, 500, 0, 3, rows.data(), scores.data());
    for (int64_t i = 0; i < 3 * q; ++i) {
      CHECK(rows[static_cast<size_t>(i)] == i % 3);
      CHECK(scores[static_cast<size_t>(i)] == 0);
    }
  }
}
