#include <twotower/tensor/kernels/in_batch/panels.h>

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
  double inv_tau;
};

template <class T>
struct Data {
  Numbers<T> u, v, bias, weight;
  std::vector<int64_t> target, offsets{0};
  std::vector<int32_t> cols;

  explicit Data(const Case& c)
      : u(uniform<T>(c.b * c.d, 1)),
        v(uniform<T>(c.m * c.d, 2)),
        bias(uniform<T>(c.m, 3, 0, 4)),
        weight(uniform<T>(c.b, 4, 0, 2)) {
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
template <class T, class RowGradient>
Result reference(const Case& c, const Data<T>& x, RowGradient&& row) {
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
        const double t = c.inv_tau;
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

template <class T>
Result reference_softmax(const Case& c, const Data<T>& x) {
  return reference(c, x, [&](int64_t i, const Doubles& dot, Doubles& g) {
    const auto t = static_cast<std::size_t>(x.target[static_cast<std::size_t>(i)]);
    Doubles s(dot.size());
    for (std::size_t j = 0; j < s.size(); ++j)
      s[j] = dot[j] * c.inv_tau +
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

template <class T>
struct Computed {
  double loss, d_inv_tau = 0;
  Numbers<T> each, du, dv;
  explicit Computed(const Case& c) : loss(0), each(c.b), du(c.b * c.d), dv(c.m * c.d) {}
  InBatchGrads<T> grads() { return {du.data(), dv.data(), &d_inv_tau}; }
};

double largest_error(const auto& got, const Doubles& want, double& largest) {
  double most = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    const double w = want[static_cast<std::size_t>(i)];
    most = std::max(most, std::abs(static_cast<double>(got[i]) - w)), largest = std::max(largest, std::abs(w));
  }
  return most;
}

// The numbers whose bits must not depend on the threads.
template <class T>
Numbers<T> compare(const Result& want, const Computed<T>& got) {
  CHECK(got.loss == doctest::Approx(want.loss).epsilon(within<T>(2e-5)));
  CHECK(got.d_inv_tau == doctest::Approx(want.d_inv_tau).epsilon(within<T>(1e-4) * 10));
  double largest = 0;
  const double worst_du = largest_error(got.du, want.du, largest), worst_dv = largest_error(got.dv, want.dv, largest);
  CHECK(std::max(worst_du, worst_dv) <= within<T>(2e-5) * largest + 1e-9 * (sizeof(T) == 4));
  Numbers<T> all(got.du.size() + got.dv.size());
  std::copy_n(got.dv.data(), got.dv.size(), all.data());
  std::copy_n(got.du.data(), got.du.size(), all.data() + got.dv.size());
  return all;
}

template <class T>
InBatchSoftmax<T> softmax_input(const Case& c, const Data<T>& x) {
  InBatchSoftmax<T> in;
  in.b = c.b, in.m = c.m, in.d = c.d, in.u = x.u.data(), in.v = x.v.data(), in.inv_tau = static_cast<T>(c.inv_tau);
  if (c.bias) in.col_bias = x.bias.data();
  in.positive_uncorrected = c.uncorrected;
  if (c.targets) in.target = x.target.data();
  if (c.exclusions) in.exclude = {x.offsets.data(), x.cols.data()};
  if (c.weights) in.weight = x.weight.data();
  in.hard_k = c.hard_k;
  return in;
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
    on_every_body([&](auto zero) {
      using T = decltype(zero);
      const Data<T> x(c);
      const Result want = reference_softmax(c, x);
      const InBatchSoftmax<T> in = softmax_input(c, x);
      Computed<T> got(c);
      const InBatchGrads<T> grads = got.grads();
      got.loss = in_batch_softmax(in, got.each.data(), &grads);
      CHECK(worst(got.each, want.each, c.b) < within<T>(2e-5));
      Numbers<T> alone(c.b);
      CHECK(in_batch_softmax(in, alone.data()) == got.loss);
      CHECK(same_bits(got.each, alone));
      return compare(want, got);
    });
  }
}

TEST_CASE("in_batch: rows with several positives, which compete or not") {
  const Case c{45, 700, 9, true, false, false, false, true, 0, 2};
  for (const bool compete : {true, false})
    on_every_body([&](auto zero) {
      using T = decltype(zero);
      const Data<T> x(c);
      std::vector<int64_t> offsets{0};
      std::vector<int32_t> cols;
      for (int64_t i = 0; i < c.b; ++i) {
        for (int64_t k = 0; k <= i % 5; ++k) cols.push_back(static_cast<int32_t>((i * 13 + k * 31) % c.m));
        offsets.push_back(static_cast<int64_t>(cols.size()));
      }
      // The mean over positives p of what a row with the one positive p, and the others out of it unless they
      // compete, would give.
      const Result want = reference(c, x, [&](int64_t i, const Doubles& dot, Doubles& g) {
        const auto lo = static_cast<std::size_t>(offsets[static_cast<std::size_t>(i)]);
        const auto hi = static_cast<std::size_t>(offsets[static_cast<std::size_t>(i) + 1]);
        double mean = 0;
        for (std::size_t k = lo; k < hi; ++k) {
          Doubles s(dot.size());
          for (std::size_t j = 0; j < s.size(); ++j)
            s[j] = dot[j] * c.inv_tau + static_cast<double>(x.bias[static_cast<int64_t>(j)]);
          const auto t = static_cast<std::size_t>(cols[k]);
          for (std::size_t other = lo; other < hi && !compete; ++other)
            if (other != k) s[static_cast<std::size_t>(cols[other])] = -HUGE_VAL;
          double log_sum;
          const Doubles p = softmax(s, log_sum);
          const double share = 1 / static_cast<double>(hi - lo);
          mean += share * (log_sum - s[t]);
          for (std::size_t j = 0; j < s.size(); ++j) g[j] += share * (p[j] - (j == t ? 1 : 0));
        }
        return mean;
      });
      Numbers<T> scratch(static_cast<int64_t>(cols.size()));
      InBatchSoftmax<T> in = softmax_input(c, x);
      in.positives = {offsets.data(), cols.data(), scratch.data(), compete};
      Computed<T> got(c);
      const InBatchGrads<T> grads = got.grads();
      got.loss = in_batch_softmax(in, got.each.data(), &grads);
      CHECK(worst(got.each, want.each, c.b) < within<T>(2e-5));
      return compare(want, got);
    });
}

TEST_CASE("in_batch: KL from a value distribution") {
  for (const Case& c : cases) {
    CAPTURE(c.b);
    CAPTURE(c.m);
    on_every_body([&](auto zero) {
      using T = decltype(zero);
      const Data<T> x(c);
      Case plain = c;
      plain.weights = false;
      const auto value = uniform<T>(c.m, 9);
      const T slope = static_cast<T>(-0.7);
      const Result want = reference(plain, x, [&](int64_t i, const Doubles& dot, Doubles& g) {
        Doubles s(dot.size()), t(dot.size());
        for (std::size_t j = 0; j < s.size(); ++j) {
          s[j] = dot[j] * c.inv_tau;
          t[j] = dot[j] * static_cast<double>(slope) + static_cast<double>(value[static_cast<int64_t>(j)]);
        }
        if (c.exclusions)
          for (int64_t e = x.offsets[static_cast<std::size_t>(i)]; e < x.offsets[static_cast<std::size_t>(i) + 1];
               ++e) {
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
      InBatchKl<T> in;
      in.b = c.b, in.m = c.m, in.d = c.d, in.u = x.u.data(), in.v = x.v.data();
      in.inv_tau = static_cast<T>(c.inv_tau), in.c = slope, in.col_b = value.data();
      if (c.exclusions) in.exclude = {x.offsets.data(), x.cols.data()};
      Computed<T> got(c);
      const InBatchGrads<T> grads = got.grads();
      got.loss = in_batch_kl(in, &grads);
      return compare(want, got);
    });
  }
}

namespace {

// Each row's sum of its scores, less its anchor's: a loss whose gradient is known without a softmax.
template <class T>
struct SumRows {
  int64_t m;
  T score_scale() const { return 1; }
  void prepare(int64_t, T* row, T* anchor, double* state) const {
    state[0] = 0;
    for (int64_t j = 0; j < m; ++j) {
      state[0] += static_cast<double>(row[j]) - (anchor == nullptr ? 0 : static_cast<double>(anchor[j]));
      row[j] = 1;
    }
  }
  void block(int64_t, T*, int64_t, int64_t, double*) const {}
  PanelRow<T> finish(int64_t, const double* state) const { return {state[0]}; }
};

}  // namespace

TEST_CASE("in_batch: the walk over several super-panels, with an anchor and without") {
  const Case c{430, 20000, 5, true, false, false, false, false, 0, 1};
  on_every_body([&](auto zero) {
    using T = decltype(zero);
    // More rows than one super-panel takes, in every body: else this test reaches nothing.
    REQUIRE(super_panel_rows<T>(c.b, c.m, false) < c.b);
    const Data<T> x(c);
    Computed<T> got(c);
    const InBatchGrads<T> grads = got.grads();
    const InBatchSoftmax<T> in = softmax_input(c, x);
    got.loss = in_batch_softmax(in, got.each.data(), &grads);
    return compare(reference_softmax(c, x), got);
  });
  const Case wide{430, 9999, 3, false, false, false, false, false, 0, 2};
  on_every_body([&](auto zero) {
    using T = decltype(zero);
    REQUIRE(super_panel_rows<T>(wide.b, wide.m, true) < wide.b);
    const Data<T> x(wide);
    const auto u0 = uniform<T>(wide.b * wide.d, 11), v0 = uniform<T>(wide.m * wide.d, 12);
    Result want = reference(wide, x, [&](int64_t i, const Doubles& dot, Doubles& g) {
      double sum = 0;
      for (int64_t j = 0; j < wide.m; ++j) {
        sum += dot[static_cast<std::size_t>(j)];
        for (int64_t p = 0; p < wide.d; ++p)
          sum -= static_cast<double>(u0[i * wide.d + p]) * static_cast<double>(v0[j * wide.d + p]);
        g[static_cast<std::size_t>(j)] = 1;
      }
      return sum;
    });
    Computed<T> got(wide);
    const InBatchGrads<T> grads = got.grads();
    const SumRows<T> rows{wide.m};
    const Pairs<T> pairs{wide.b, wide.m, wide.d, x.u.data(), x.v.data(), 2, u0.data(), v0.data()};
    got.loss = PanelWalk<T, SumRows<T>>(pairs, rows, nullptr, got.each.data(), &grads).run();
    return compare(want, got);
  });
}

TEST_CASE("in_batch: large scores do not overflow, NaN shows, a row alone costs nothing") {
  on_every_isa([&] {
    const float u[] = {1000, 1000}, v[] = {1, 2};
    InBatchSoftmax<float> in;
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
