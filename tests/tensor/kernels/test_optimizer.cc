#include <twotower/tensor/kernels/optimizer/optimizer.h>

#include <algorithm>
#include <cfloat>
#include <limits>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

namespace {

void reference_adam(const AdamStep& s, double& p, double& m, double& v, double g) {
  g *= s.grad_scale;
  const double t = static_cast<double>(s.t);
  m = s.beta1 * m + (1 - s.beta1) * g;
  v = s.beta2 * v + (1 - s.beta2) * g * g;
  p *= 1 - s.lr * s.weight_decay;
  p -= s.lr / (1 - std::pow(s.beta1, t)) * m / (std::sqrt(v) / std::sqrt(1 - std::pow(s.beta2, t)) + s.eps);
}

// Every third of `rows` rows, and their gradients.
template <class T>
struct Touched {
  std::vector<int64_t> ids;
  Numbers<T> g;

  Touched(int64_t rows, int64_t dim, const Numbers<T>& all) : g((rows + 2) / 3 * dim) {
    for (int64_t r = 0; r < rows; r += 3) {
      std::copy_n(all.data() + r * dim, dim, g.data() + static_cast<int64_t>(ids.size()) * dim);
      ids.push_back(r);
    }
  }
  int64_t count() const { return static_cast<int64_t>(ids.size()); }
};

// Rows that were touched have what the dense step gave them, the others what they began with.
template <class T>
bool rows_agree(const Numbers<T>& by_rows, const Numbers<T>& dense, const Numbers<T>& start, int64_t dim) {
  double most = 0;
  for (int64_t i = 0; i < dense.size(); ++i) {
    const T want = i / dim % 3 == 0 ? dense[i] : start[i];
    most = std::max(most, static_cast<double>(std::abs(by_rows[i] - want)));
  }
  return most < within<T>(1e-6);
}

template <class T>
int64_t subnormals(const Numbers<T>& x) {
  int64_t count = 0;
  for (int64_t i = 0; i < x.size(); ++i) count += x[i] != 0 && std::abs(static_cast<double>(x[i])) < FLT_MIN;
  return count;
}

}  // namespace

TEST_CASE("optimizer: adam follows the formula for ten steps, dense and by rows") {
  for (const int64_t dim : {1, 33, 64})
    on_every_body([&](auto zero) {
      using T = decltype(zero);
      const int64_t rows = 700, n = rows * dim;
      const auto start = uniform<T>(n, 1);
      Numbers<T> p = start, m(n), v(n), rp = start, rm(n), rv(n);
      std::vector<double> dp(p.data(), p.data() + n), dm(dp.size()), dv(dp.size());
      AdamStep step;
      step.lr = 0.01, step.weight_decay = 0.1, step.grad_scale = 0.5;
      for (step.t = 1; step.t <= 10; ++step.t) {
        const auto g = uniform<T>(n, 10 + static_cast<unsigned>(step.t));
        const Touched<T> touched(rows, dim, g);
        adam(step, p.data(), m.data(), v.data(), g.data(), n);
        adam_rows(step, rp.data(), rm.data(), rv.data(), dim, touched.ids.data(), touched.g.data(), touched.count());
        for (std::size_t i = 0; i < dp.size(); ++i)
          reference_adam(step, dp[i], dm[i], dv[i], static_cast<double>(g[static_cast<int64_t>(i)]));
      }
      CHECK(worst(p, dp, n) < within<T>(1e-5));
      CHECK(rows_agree(rp, p, start, dim));
      return p;
    });
}

TEST_CASE("optimizer: adagrad follows the formula, dense and by rows") {
  for (const int64_t dim : {3, 64})
    on_every_body([&](auto zero) {
      using T = decltype(zero);
      const int64_t rows = 600, n = rows * dim;
      const auto start = uniform<T>(n, 1);
      Numbers<T> p = start, s(n), rp = start, rs(n);
      std::vector<double> dp(p.data(), p.data() + n), ds(dp.size());
      AdagradStep step;
      step.lr = 0.05, step.weight_decay = 0.01, step.grad_scale = 2;
      for (unsigned t = 0; t < 5; ++t) {
        const auto g = uniform<T>(n, 20 + t);
        const Touched<T> touched(rows, dim, g);
        adagrad(step, p.data(), s.data(), g.data(), n);
        adagrad_rows(step, rp.data(), rs.data(), dim, touched.ids.data(), touched.g.data(), touched.count());
        for (std::size_t i = 0; i < dp.size(); ++i) {
          const double gi = 2 * static_cast<double>(g[static_cast<int64_t>(i)]);
          ds[i] += gi * gi;
          dp[i] = dp[i] * (1 - step.lr * step.weight_decay) - step.lr * gi / (std::sqrt(ds[i]) + step.eps);
        }
      }
      CHECK(worst(p, dp, n) < within<T>(1e-5));
      CHECK(rows_agree(rp, p, start, dim));
      return p;
    });
}

TEST_CASE("optimizer: sgd with and without momentum, dense and by rows") {
  for (const int64_t dim : {3, 64})
    for (const double momentum : {0.0, 0.9})
      on_every_body([&](auto zero) {
        using T = decltype(zero);
        const int64_t rows = 600, n = rows * dim;
        const auto start = uniform<T>(n, 1);
        Numbers<T> p = start, m(n), rp = start, rm(n);
        std::vector<double> dp(p.data(), p.data() + n), dm(dp.size());
        SgdStep step;
        step.lr = 0.05, step.momentum = momentum, step.weight_decay = 0.01, step.grad_scale = 2;
        T *state = momentum > 0 ? m.data() : nullptr, *row_state = momentum > 0 ? rm.data() : nullptr;
        for (unsigned t = 0; t < 5; ++t) {
          const auto g = uniform<T>(n, 20 + t);
          const Touched<T> touched(rows, dim, g);
          sgd(step, p.data(), state, g.data(), n);
          sgd_rows(step, rp.data(), row_state, dim, touched.ids.data(), touched.g.data(), touched.count());
          for (std::size_t i = 0; i < dp.size(); ++i) {
            dm[i] = momentum * dm[i] + 2 * static_cast<double>(g[static_cast<int64_t>(i)]);
            dp[i] = dp[i] * (1 - step.lr * step.weight_decay) - step.lr * dm[i];
          }
        }
        CHECK(worst(p, dp, n) < within<T>(1e-5));
        CHECK(rows_agree(rp, p, start, dim));
        return p;
      });
}

TEST_CASE("optimizer: moments that only decay become zero, never subnormal, and the step hardly differs") {
  on_every_body([&](auto zero) {
    using T = decltype(zero);
    const int64_t n = 37;
    Numbers<T> p(n, 1), m(n), v(n), q(n, 1), momentum(n);
    AdamStep step;
    step.beta2 = 0.9;  // both moments cross the edge of the normal numbers within a thousand steps
    SgdStep plain;
    plain.momentum = 0.9;
    double rp = 1, rm = 0, rv = 0, worst_step = 0;
    int64_t found = 0;
    for (step.t = 1; step.t <= 1200; ++step.t) {
      const Numbers<T> g(n, step.t == 1 ? T(1e-4) : T(0));
      adam(step, p.data(), m.data(), v.data(), g.data(), n);
      sgd(plain, q.data(), momentum.data(), g.data(), n);
      reference_adam(step, rp, rm, rv, static_cast<double>(g[0]));
      found += subnormals(m) + subnormals(v) + subnormals(momentum);
      worst_step = std::max(worst_step, std::abs(static_cast<double>(p[n - 1]) - rp));
    }
    CHECK(found == 0);
    CHECK(m[0] == 0);
    CHECK(v[0] == 0);
    CHECK(momentum[n - 1] == 0);
    CHECK(worst_step < within<T>(1e-5));
    return p;
  });
}

TEST_CASE("optimizer: a NaN gradient shows in the moments and the parameter") {
  on_every_body([&](auto zero) {
    using T = decltype(zero);
    Numbers<T> p(5, 1), m(5), v(5), g(5);
    g[2] = std::numeric_limits<T>::quiet_NaN();
    adam(AdamStep{}, p.data(), m.data(), v.data(), g.data(), 5);
    CHECK(std::isnan(m[2]));
    CHECK(std::isnan(v[2]));
    CHECK(std::isnan(p[2]));
    CHECK(!std::isnan(p[1]));
    return Numbers<T>(0);
  });
}
