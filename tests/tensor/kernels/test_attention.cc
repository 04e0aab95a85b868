#include <twotower/tensor/kernels/attention/attention.h>
#include <twotower/tensor/kernels/attention/attention_body.h>

#include <algorithm>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

namespace {

using Doubles = std::vector<double>;

std::vector<int64_t> ragged(int64_t sequences, int64_t longest) {
  std::vector<int64_t> offsets{3};  // rows before the first sequence belong to nobody
  std::mt19937 random(7);
  for (int64_t s = 0; s < sequences; ++s) {
    int64_t length = static_cast<int64_t>(random()) % (longest + 1);
    if (s == 0) length = longest;
    if (s == 1) length = 0;
    offsets.push_back(offsets.back() + length);
  }
  return offsets;
}

// p = softmax(q K^T scale) over n rows of k; causal: of row `query`, over itself and those behind it, with a bias by
// distance.
template <class T>
Doubles probabilities(const Numbers<T>& x, int64_t q, int64_t k, int64_t stride, int64_t n, int64_t d,
                      const Numbers<T>& y, double scale, const T* bias = nullptr, int64_t query = 0) {
  Doubles p(static_cast<std::size_t>(n));
  double max = -HUGE_VAL, sum = 0;
  for (int64_t j = 0; j < n; ++j) {
    double s = 0;
    for (int64_t c = 0; c < d; ++c) s += static_cast<double>(x[q + c]) * static_cast<double>(y[k + j * stride + c]);
    s *= scale;
    if (bias != nullptr) s = j < query ? -HUGE_VAL : s + static_cast<double>(bias[j - query]);
    p[static_cast<std::size_t>(j)] = s;
    max = std::max(max, s);
  }
  return [&] {
    for (double& s : p) sum += s = std::exp(s - max);
    for (double& s : p) s /= sum;
    return p;
  }();
}

struct Shape {
  int64_t dim, heads, longest;
};
const Shape shapes[] = {{64, 4, 50}, {6, 2, 9}, {15, 3, 70}, {1, 1, 5}, {48, 2, 130}, {36, 18, 20}, {40, 4, 128}};

}  // namespace

TEST_CASE("attention: forward and backward over ragged sequences, of all rows and causal") {
  for (const bool is_causal : {false, true})
    for (const Shape& shape : shapes) {
      const int64_t dim = shape.dim, heads = shape.heads, longest = shape.longest;
      const auto offsets = ragged(13, longest);
      const int64_t n = offsets.back(), d = dim / heads, ld = 3 * dim;
      const double scale = 1 / std::sqrt(static_cast<double>(d));
      const int64_t distances = longest + 3;
      CAPTURE(dim);
      CAPTURE(is_causal);
      on_every_body([&](auto zero) {
        using T = decltype(zero);
        const auto qkv = uniform<T>(n * ld, 1, -2, 2), dout = uniform<T>(n * dim, 2);
        const auto bias = uniform<T>(heads * distances, 3, -2, 2);
        Doubles dbias(static_cast<std::size_t>(heads * distances));
        Doubles out(static_cast<std::size_t>(n * dim)), dqkv(static_cast<std::size_t>(n * ld));
        for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
          for (int64_t h = 0; h < heads; ++h)
            for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i) {
              const int64_t first = offsets[s], length = offsets[s + 1] - first, at = h * d;
              const Doubles p = probabilities(qkv, i * ld + at, first * ld + dim + at, ld, length, d, qkv, scale,
                                              is_causal ? bias.data() + h * distances : nullptr, i - first);
              Doubles dp(p.size());
              double delta = 0;
              for (int64_t j = 0; j < length; ++j)
                for (int64_t c = 0; c < d; ++c) {
                  const double pj = p[static_cast<std::size_t>(j)], o = static_cast<double>(dout[i * dim + at + c]);
                  const double v = static_cast<double>(qkv[(first + j) * ld + 2 * dim + at + c]);
                  out[static_cast<std::size_t>(i * dim + at + c)] += pj * v;
                  dp[static_cast<std::size_t>(j)] += o * v;
                  delta += pj * o * v;
                  dqkv[static_cast<std::size_t>((first + j) * ld + 2 * dim + at + c)] += pj * o;
                }
              for (int64_t j = 0; j < length; ++j)
                for (int64_t c = 0; c < d; ++c) {
                  const double ds = p[static_cast<std::size_t>(j)] * (dp[static_cast<std::size_t>(j)] - delta) * scale;
                  dqkv[static_cast<std::size_t>(i * ld + at + c)] +=
                      ds * static_cast<double>(qkv[(first + j) * ld + dim + at + c]);
                  dqkv[static_cast<std::size_t>((first + j) * ld + dim + at + c)] +=
                      ds * static_cast<double>(qkv[i * ld + at + c]);
                  if (c == 0 && first + j >= i)
                    dbias[static_cast<std::size_t>(h * distances + first + j - i)] += ds / scale;
                }
            }
        Numbers<T> got(n * dim), grad(n * ld), stats(n * 2 * heads), bias_grad(heads * distances);
        Numbers<T> tables(CausalBias<T>::numbers(heads, distances));
        make_causal_tables(bias.data(), heads, distances, tables.data());
        const CausalBias<T> causal = is_causal ? CausalBias<T>{tables.data(), distances} : CausalBias<T>{};
        const auto sequences = static_cast<int64_t>(offsets.size()) - 1;
        std::fill_n(bias_grad.data(), heads * distances, T(0));
        attention_forward(qkv.data(), offsets.data(), sequences, dim, heads, got.data(), stats.data(), causal);
        attention_backward(qkv.data(), got.data(), stats.data(), offsets.data(), sequences, dim, heads, dout.data(),
                           grad.data(), causal, is_causal ? bias_grad.data() : nullptr);
        CHECK(worst(got, out, n * dim) < within<T>(1e-5));
        CHECK(worst(grad, dqkv, n * ld) < within<T>(2e-5));
        if (is_causal) CHECK(worst(bias_grad, dbias, heads * distances) < within<T>(5e-5));
        return grad;
      });
    }
}

TEST_CASE("attention: the folded last layer, one query a sequence, with and without a bias by distance") {
  for (const bool biased : {false, true})
    for (const Shape& shape : shapes) {
      const int64_t dim = shape.dim, heads = shape.heads, longest = shape.longest;
      const auto offsets = ragged(13, longest);
      const auto sequences = static_cast<int64_t>(offsets.size()) - 1;
      const int64_t n = offsets.back(), size = sequences * heads * dim;
      const double scale = 1 / std::sqrt(static_cast<double>(dim / heads));
      CAPTURE(dim);
      on_every_body([&](auto zero) {
        using T = decltype(zero);
        const auto x = uniform<T>(n * dim, 1, -2, 2), qk = uniform<T>(size, 2), dpooled = uniform<T>(size, 3);
        const auto dx0 = uniform<T>(n * dim, 4), biases = uniform<T>(heads * longest, 5, -2, 2);
        Doubles dscores(static_cast<std::size_t>(n * heads));
        Doubles pooled(static_cast<std::size_t>(size)), dqk(pooled.size()), dx(static_cast<std::size_t>(n * dim));
        for (int64_t s = 0; s < sequences; ++s)
          for (int64_t h = 0; h < heads; ++h) {
            const int64_t first = offsets[static_cast<std::size_t>(s)];
            const int64_t length = offsets[static_cast<std::size_t>(s) + 1] - first, at = (s * heads + h) * dim;
            const Doubles p = probabilities(qk, at, first * dim, dim, length, dim, x, scale,
                                            biased ? biases.data() + h * longest : nullptr);
            Doubles dp(p.size());
            double delta = 0;
            for (int64_t j = 0; j < length; ++j)
              for (int64_t c = 0; c < dim; ++c) {
                const double xj = static_cast<double>(x[(first + j) * dim + c]),
                             o = static_cast<double>(dpooled[at + c]);
                const double pj = p[static_cast<std::size_t>(j)];
                pooled[static_cast<std::size_t>(at + c)] += pj * xj;
                dp[static_cast<std::size_t>(j)] += o * xj;
                delta += pj * o * xj;
                dx[static_cast<std::size_t>((first + j) * dim + c)] += pj * o;
              }
            for (int64_t j = 0; j < length; ++j)
              for (int64_t c = 0; c < dim; ++c) {
                const double ds = p[static_cast<std::size_t>(j)] * (dp[static_cast<std::size_t>(j)] - delta) * scale;
                dscores[static_cast<std::size_t>((first + j) * heads + h)] = ds / scale;
                dqk[static_cast<std::size_t>(at + c)] += ds * static_cast<double>(x[(first + j) * dim + c]);
                dx[static_cast<std::size_t>((first + j) * dim + c)] += ds * static_cast<double>(qk[at + c]);
              }
          }
        Numbers<T> got(size, 5), dq(size, 5), grad = dx0, score_grad(n * heads);
        std::fill_n(score_grad.data(), n * heads, T(0));  // rows before the first sequence are nobody's
        const T* bias = biased ? biases.data() : nullptr;
        attention_last_forward(qk.data(), x.data(), offsets.data(), sequences, dim, heads, got.data(), bias, longest);
        CHECK(worst(got, pooled, size) < within<T>(1e-5));
        attention_last_backward(qk.data(), x.data(), offsets.data(), sequences, dim, heads, dpooled.data(), dq.data(),
                                grad.data(), bias, longest, score_grad.data());
        CHECK(worst(dq, dqk, size) < within<T>(2e-5));
        CHECK(worst(score_grad, dscores, n * heads) < within<T>(2e-5));
        for (int64_t i = 0; i < n * dim; ++i) dx[static_cast<std::size_t>(i)] += static_cast<double>(dx0[i]);
        CHECK(worst(grad, dx, n * dim) < within<T>(2e-5));
        Numbers<T> alone(size, 5);
        T* none = nullptr;
        attention_last_backward(qk.data(), x.data(), offsets.data(), sequences, dim, heads, dpooled.data(),
                                alone.data(), none, bias, longest);
        CHECK(same_bits(alone, dq));
        return grad;
      });
    }
}

TEST_CASE("attention: shapes reach several panels of queries, and every remainder of one") {
  int64_t longest = 0;
  for (const Shape& shape : shapes) longest = std::max(longest, shape.longest);
  CHECK(longest > 2 * kAttentionLanes);
}

TEST_CASE("attention: weights far below a softmax's largest leave no subnormal gradients") {
  const int64_t dim = 8, heads = 2, d = dim / heads, n = 70, ld = 3 * dim;
  const int64_t offsets[] = {0, n};
  on_every_isa([&] {
    // Key 0 takes everything; scores of the others lie 80 to 90 below, where e^score / sum is subnormal or nearly.
    Floats qkv(n * ld), out(n * dim), stats(n * 2 * heads), grad(n * ld);
    const Floats dout = uniform(n * dim, 2), values = uniform(n * dim, 3);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < dim; ++c) {
        qkv[i * ld + c] = 1;
        qkv[i * ld + dim + c] =
            i == 0 ? 0 : -(80 + 10 * static_cast<float>(i) / static_cast<float>(n)) / std::sqrt(static_cast<float>(d));
        qkv[i * ld + 2 * dim + c] = values[i * dim + c];
      }
    const auto subnormal = [](const Floats& x) {
      int64_t count = 0;
      for (int64_t i = 0; i < x.size(); ++i) count += x[i] != 0 && std::abs(x[i]) < 1.17549435e-38f;
      return count;
    };
    attention_forward(qkv.data(), offsets, 1, dim, heads, out.data(), stats.data());
    attention_backward(qkv.data(), out.data(), stats.data(), offsets, 1, dim, heads, dout.data(), grad.data());
    CHECK(subnormal(grad) == 0);
    CHECK(grad[dim] != 0);  // key 0 has its gradient

    Floats qk(heads * dim, 1), pooled(heads * dim), dqk(heads * dim), dx(n * dim), x(n * dim);
    const Floats dpooled = uniform(heads * dim, 4, -1e-3f, 1e-3f);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < dim; ++c) x[i * dim + c] = qkv[i * ld + dim + c] / 2;
    attention_last_forward(qk.data(), x.data(), offsets, 1, dim, heads, pooled.data());
    attention_last_backward(qk.data(), x.data(), offsets, 1, dim, heads, dpooled.data(), dqk.data(), dx.data());
    CHECK(subnormal(dx) == 0);
    return grad;
  });
}
