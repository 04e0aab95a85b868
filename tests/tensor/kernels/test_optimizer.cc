#include <twotower/tensor/kernels/optimizer/optimizer.h>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

namespace {

void reference_adam(const AdamStep& s, double& p, double& m, double& v, double g) {
  g *= static_cast<double>(s.grad_scale);
  const double b1 = s.beta1, b2 = s.beta2, t = static_cast<double>(s.t);
  m = b1 * m + (1 - b1) * g;
  v = b2 * v + (1 - b2) * g * g;
  p *= 1 - static_cast<double>(s.lr) * static_cast<double>(s.weight_decay);
  p -= static_cast<double>(s.lr) / (1 - std::pow(b1, t)) * m /
       (std::sqrt(v) / std::sqrt(1 - std::pow(b2, t)) + static_cast<double>(s.eps));
}

}  // namespace

TEST_CASE("optimizer: adam follows the formula for ten steps, dense and by rows") {
  for (const int64_t dim : {1, 33, 64})
    on_every_isa([&] {
      const int64_t rows = 700, n = rows * dim;
      Floats p = uniform(n, 1), m(n), v(n), rp = p, rm(n), rv(n);
      std::vector<double> dp(p.data(), p.data() + n), dm(dp.size()), dv(dp.size());
      std::vector<int64_t> ids;
      for (int64_t r = 0; r < rows; r += 3) ids.push_back(r);
      AdamStep step;
      step.lr = 0.01f, step.weight_decay = 0.1f, step.grad_scale = 0.5f;
      for (step.t = 1; step.t <= 10; ++step.t) {
        const Floats g = uniform(n, 10 + static_cast<unsigned>(step.t));
        Floats rg(static_cast<int64_t>(ids.size()) * dim);
        for (std::size_t i = 0; i < ids.size(); ++i)
          for (int64_t j = 0; j < dim; ++j) rg[static_cast<int64_t>(i) * dim + j] = g[ids[i] * dim + j];
        adam(step, p.data(), m.data(), v.data(), g.data(), n);
        adam_rows(step, rp.data(), rm.data(), rv.data(), dim, ids.data(), rg.data(), static_cast<int64_t>(ids.size()));
        for (std::size_t i = 0; i < dp.size(); ++i)
          reference_adam(step, dp[i], dm[i], dv[i], static_cast<double>(g[static_cast<int64_t>(i)]));
      }
      CHECK(worst(p, dp, n) < 1e-5);
      const Floats start = uniform(n, 1);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t j = 0; j < dim; ++j)
          CHECK(std::abs(rp[r * dim + j] - (r % 3 == 0 ? p[r * dim + j] : start[r * dim + j])) < 1e-6f);
      return p;
    });
}

TEST_CASE("optimizer: adagrad, elementwise and row-wise") {
  for (const int64_t dim : {3, 64})
    on_every_isa([&] {
      const int64_t rows = 600, n = rows * dim;
      Floats p = uniform(n, 1), s(n), q = p, sq(n), w = p, sw(rows);
      std::vector<double> dp(p.data(), p.data() + n), ds(dp.size()), dw = dp, dsw(static_cast<std::size_t>(rows));
      std::vector<int64_t> ids(static_cast<std::size_t>(rows));
      for (int64_t r = 0; r < rows; ++r) ids[static_cast<std::size_t>(r)] = r;
      AdagradStep step;
      step.lr = 0.05f, step.weight_decay = 0.01f, step.grad_scale = 2;
      for (unsigned t = 0; t < 5; ++t) {
        const Floats g = uniform(n, 20 + t);
        adagrad(step, p.data(), s.data(), g.data(), n);
        adagrad_rows(step, q.data(), sq.data(), dim, ids.data(), g.data(), rows);
        rowwise_adagrad_rows(step, w.data(), sw.data(), dim, ids.data(), g.data(), rows);
        const double lr = static_cast<double>(step.lr), keep = 1 - lr * static_cast<double>(step.weight_decay);
        for (int64_t r = 0; r < rows; ++r) {
          double mean = 0;
          for (int64_t j = 0; j < dim; ++j) mean += std::pow(2 * static_cast<double>(g[r * dim + j]), 2);
          double& total = dsw[static_cast<std::size_t>(r)] += mean / static_cast<double>(dim);
          for (int64_t j = 0; j < dim; ++j) {
            const auto i = static_cast<std::size_t>(r * dim + j);
            const double gi = 2 * static_cast<double>(g[r * dim + j]);
            ds[i] += gi * gi;
            dp[i] = dp[i] * keep - lr * gi / (std::sqrt(ds[i]) + 1e-10);
            dw[i] = dw[i] * keep - lr * gi / (std::sqrt(total) + 1e-10);
          }
        }
      }
      CHECK(worst(p, dp, n) < 1e-5);
      CHECK(worst(q, dp, n) < 1e-5);
      CHECK(worst(w, dw, n) < 1e-5);
      return w;
    });
}
