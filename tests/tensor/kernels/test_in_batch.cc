#include <twotower/tensor/kernels/in_batch/in_batch.h>

#include <algorithm>
#include <memory>
#include <numeric>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

namespace {

using Doubles = std::vector<double>;

struct Case {
  int64_t b, m, d;
  bool bias, uncorrected, targets, exclusions, weights;
  int64_t hard_k;
  float inv_tau;
};

struct Data {
  Floats u, v, bias, weight;
  std::vector<int64_t> target, offsets{0};
  std::vector<int32_t> cols;

  explicit Data(const Case& c)
      : u(uniform(c.b * c.d, 1)), v(uniform(c.m * c.d, 2)), bias(uniform(c.m, 3, 0, 4)), weight(uniform(c.b, 4, 0, 2)) {
    std::mt19937 random(5);
    for (int64_t i = 0; i < c.b; ++i) {
      target.push_back(c.targets ? static_cast<int64_t>(random() % static_cast<unsigned>(c.m)) : i);
      for (int64_t x = i % 4; x > 0; --x) cols.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(c.m)));
      if (i % 3 == 0) cols.push_back(static_cast<int32_t>(target.back()));
      offsets.push_back(static_cast<int64_t>(cols.size()));
    }
  }
};

struct Result {
  double loss = 0, d_inv_tau = 0;
  Doubles each, du, dv;
};

// What both losses share: scores s from dots, gradient g to s, chain back to u, v and inv_tau.
template <class RowGradient>
Result reference(const Case& c, const Data& x, RowGradient&& row) {
  Result r;
  r.each.resize(static_cast<std::size_t>(c.b));
  r.du.resize(static_cast<std::size_t>(c.b * c.d));
  r.dv.resize(static_cast<std::size_t>(c.m * c.d));
  for (int64_t i = 0; i < c.b; ++i) {
    Doubles dot(static_cast<std::size_t>(c.m));
    for (int64_t j = 0; j < c.m; ++j)
      for (int64_t p = 0; p < c.d; ++p)
        dot[static_cast<std::size_t>(j)] +=
            static_cast<double>(x.u[i * c.d + p]) * static_cast<double>(x.v[j * c.d + p]);
    Doubles g(dot.size());
    const double w = c.weights ? static_cast<double>(x.weight[i]) : 1.0;
    const double each = row(i, dot, g);
    r.each[static_cast<std::size_t>(i)] = each;
    r.loss += w * each / static_cast<double>(c.b);
    for (int64_t j = 0; j < c.m; ++j) {
      const double gij = g[static_cast<std::size_t>(j)] * w / static_cast<double>(c.b);
      r.d_inv_tau += gij * dot[static_cast<std::size_t>(j)];
      for (int64_t p = 0; p < c.d; ++p) {
        const double t = static_cast<double>(c.inv_tau);
        r.du[static_cast<std::size_t>(i * c.d + p)] += gij * t * static_cast<double>(x.v[j * c.d + p]);
        r.dv[static_cast<std::size_t>(j * c.d + p)] += gij * t * static_cast<double>(x.u[i * c.d + p]);
      }
    }
  }
  return r;
}

Doubles softmax(const Doubles& s, double& log_sum) {
  const double max = *std::max_element(s.begin(), s.end());
  Doubles p(s.size());
  double sum = 0;
  for (std::size_t j = 0; j < s.size(); ++j) sum += p[j] = std::isinf(s[j]) ? 0 : std::exp(s[j] - max);
  for (double& y : p) y = sum == 0 ? 0 : y / sum;
  log_sum = std::log(sum) + max;
  return p;
}

Result reference_softmax(const Case& c, const Data& x) {
  return reference(c, x, [&](int64_t i, const Doubles& dot, Doubles& g) {
    const auto t = static_cast<std::size_t>(x.target[static_cast<std::size_t>(i)]);
    Doubles s(dot.size());
    for (std::size_t j = 0; j < s.size(); ++j)
      s[j] = dot[j] * static_cast<double>(c.inv_tau) +
             (c.bias && !(c.uncorrected && j == t) ? static_cast<double>(x.bias[static_cast<int64_t>(j)]) : 0);
    const double own = s[t];
    if (c.exclusions)
      for (int64_t e = x.offsets[static_cast<std::size_t>(i)]; e < x.offsets[static_cast<std::size_t>(i) + 1]; ++e)
        s[static_cast<std::size_t>(x.cols[static_cast<std::size_t>(e)])] = -HUGE_VAL;
    s[t] = -HUGE_VAL;
    if (c.hard_k > 0 && c.hard_k < c.m) {
      std::vector<std::size_t> order(s.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return s[a] > s[b]; });
      for (auto k = static_cast<std::size_t>(c.hard_k); k < order.size(); ++k) s[order[k]] = -HUGE_VAL;
    }
    s[t] = own;
    double log_sum;
    g = softmax(s, log_sum);
    g[t] -= 1;
    return log_sum - own;
  });
}

void compare(const Case& c, const Result& want, double loss, const Floats& each, const Floats& du, const Floats& dv,
             double d_inv_tau, double scale) {
  CHECK(loss == doctest::Approx(want.loss).epsilon(2e-5));
  CHECK(worst(each, want.each, c.b) < 2e-5);
  CHECK(d_inv_tau == doctest::Approx(scale * want.d_inv_tau).epsilon(1e-4));
  double most = 0, largest = 0;
  for (int64_t i = 0; i < c.b * c.d; ++i) {
    const double w = scale * want.du[static_cast<std::size_t>(i)];
    most = std::max(most, std::abs(static_cast<double>(du[i]) - w)), largest = std::max(largest, std::abs(w));
  }
  for (int64_t i = 0; i < c.m * c.d; ++i) {
    const double w = scale * want.dv[static_cast<std::size_t>(i)];
    most = std::max(most, std::abs(static_cast<double>(dv[i]) - w)), largest = std::max(largest, std::abs(w));
  }
  CHECK(most <= 2e-5 * largest + 1e-9);
}

const Case cases[] = {
    {1, 1, 3, false, false, false, false, false, 0, 1},    {5, 5, 1, true, false, false, false, false, 0, 2},
    {33, 33, 16, true, true, false, false, true, 0, 3},    {40, 57, 7, true, false, true, true, false, 0, 1.5f},
    {65, 130, 64, false, false, false, true, true, 0, 2},  {64, 600, 24, true, true, true, true, true, 9, 4},
    {130, 1100, 33, true, false, false, true, true, 0, 1}, {29, 40, 8, false, false, false, false, false, 1, 1},
};

}  // namespace

TEST_CASE("in_batch: softmax cross-entropy and its gradients") {
  for (const Case& c : cases) {
    CAPTURE(c.b);
    CAPTURE(c.m);
    const Data x(c);
    const Result want = reference_softmax(c, x);
    on_every_isa([&] {
      InBatchSoftmax in;
      in.b = c.b, in.m = c.m, in.d = c.d, in.u = x.u.data(), in.v = x.v.data(), in.inv_tau = c.inv_tau;
      if (c.bias) in.col_bias = x.bias.data();
      in.positive_uncorrected = c.uncorrected;
      if (c.targets) in.target = x.target.data();
      if (c.exclusions) in.exclude = {x.offsets.data(), x.cols.data()};
      if (c.weights) in.weight = x.weight.data();
      in.hard_k = c.hard_k;
      Floats ce(c.b), alone(c.b), du(c.b * c.d), dv(c.m * c.d);
      double d_inv_tau = 0;
      InBatchGrads grads;
      grads.du = du.data(), grads.dv = dv.data(), grads.d_inv_tau = &d_inv_tau;
      const double loss = in_batch_softmax(in, ce.data(), &grads);
      compare(c, want, loss, ce, du, dv, d_inv_tau, 1);
      CHECK(in_batch_softmax(in, alone.data()) == loss);
      CHECK(same_bits(ce, alone));
      grads.accumulate = true, grads.scale = 2;
      in_batch_softmax(in, nullptr, &grads);
      compare(c, want, loss, ce, du, dv, d_inv_tau, 3);
      Floats all(c.m * c.d + c.b * c.d);
      std::copy_n(dv.data(), dv.size(), all.data());
      std::copy_n(du.data(), du.size(), all.data() + dv.size());
      return all;
    });
  }
}

TEST_CASE("in_batch: KL from a value distribution") {
  for (const Case& c : cases) {
    CAPTURE(c.b);
    CAPTURE(c.m);
    const Data x(c);
    const Floats value = uniform(c.m, 9);
    const float slope = -0.7f;
    const Result want = reference(c, x, [&](int64_t i, const Doubles& dot, Doubles& g) {
      Doubles s(dot.size()), t(dot.size());
      for (std::size_t j = 0; j < s.size(); ++j) {
        const auto col = static_cast<int64_t>(j);
        s[j] = dot[j] * static_cast<double>(c.inv_tau) + (c.bias ? static_cast<double>(x.bias[col]) : 0);
        t[j] = dot[j] * static_cast<double>(slope) + static_cast<double>(value[col]);
      }
      if (c.exclusions)
        for (int64_t e = x.offsets[static_cast<std::size_t>(i)]; e < x.offsets[static_cast<std::size_t>(i) + 1]; ++e) {
          const auto col = static_cast<std::size_t>(x.cols[static_cast<std::size_t>(e)]);
          s[col] = t[col] = -HUGE_VAL;
        }
      double ls, lt, kl = 0;
      const Doubles p = softmax(s, ls), q = softmax(t, lt);
      for (std::size_t j = 0; j < s.size(); ++j) {
        if (q[j] > 0) kl += q[j] * ((t[j] - lt) - (s[j] - ls));
        g[j] = p[j] - q[j];
      }
      return kl;
    });
    on_every_isa([&] {
      InBatchKl in;
      in.b = c.b, in.m = c.m, in.d = c.d, in.u = x.u.data(), in.v = x.v.data(), in.inv_tau = c.inv_tau;
      in.c = slope, in.col_b = value.data();
      if (c.bias) in.col_bias = x.bias.data();
      if (c.exclusions) in.exclude = {x.offsets.data(), x.cols.data()};
      if (c.weights) in.weight = x.weight.data();
      Floats kl(c.b), du(c.b * c.d), dv(c.m * c.d);
      double d_inv_tau = 0;
      InBatchGrads grads;
      grads.du = du.data(), grads.dv = dv.data(), grads.d_inv_tau = &d_inv_tau, grads.scale = 0.5f;
      const double loss = in_batch_kl(in, kl.data(), &grads);
      compare(c, want, loss, kl, du, dv, d_inv_tau, 0.5);
      return dv;
    });
  }
}

TEST_CASE("in_batch: several super-panels give what one would") {
  // 300 rows of 20000 columns pass the 16 MB of one super-panel.
  const Case c{300, 20000, 5, true, false, false, false, false, 0, 1};
  const Data x(c);
  const Result want = reference_softmax(c, x);
  on_every_isa([&] {
    InBatchSoftmax in;
    in.b = c.b, in.m = c.m, in.d = c.d, in.u = x.u.data(), in.v = x.v.data(), in.col_bias = x.bias.data();
    Floats ce(c.b), du(c.b * c.d), dv(c.m * c.d);
    double d_inv_tau = 0;
    InBatchGrads grads;
    grads.du = du.data(), grads.dv = dv.data(), grads.d_inv_tau = &d_inv_tau;
    const double loss = in_batch_softmax(in, ce.data(), &grads);
    compare(c, want, loss, ce, du, dv, d_inv_tau, 1);
    return dv;
  });
}

TEST_CASE("in_batch: large scores do not overflow, NaN shows, a row alone costs nothing") {
  on_every_isa([&] {
    const float u[] = {1000, 1000}, v[] = {1, 2};
    InBatchSoftmax in;
    in.b = 2, in.m = 2, in.d = 1, in.u = u, in.v = v;
    float ce[2];
    in_batch_softmax(in, ce);
    CHECK(ce[0] == 1000);
    CHECK(ce[1] == 0);
    const int64_t offsets[] = {0, 2, 4};
    const int32_t cols[] = {0, 1, 0, 1};
    in.exclude = {offsets, cols};
    CHECK(in_batch_softmax(in, ce) == 0);
    const float bad[] = {std::nanf(""), 1};
    in.u = bad;
    CHECK(std::isnan(in_batch_softmax(in, ce)));
    CHECK(ce[1] == 0);
    in.b = 0;
    CHECK(in_batch_softmax(in, ce) == 0);
    return Floats(0);
  });
}
