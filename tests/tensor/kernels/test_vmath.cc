#include <twotower/tensor/kernels/vmath/vmath.h>

#include <algorithm>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

namespace {

constexpr float kInf = HUGE_VALF;

double ulps(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : HUGE_VAL;
  const auto rounded = static_cast<float>(want);
  if (std::isinf(rounded) || std::isinf(got)) {
    if (got == rounded) return 0;
    return std::abs(want) > 3.4027e38 && std::isinf(got) ? 1 : HUGE_VAL;
  }
  if (std::abs(want) < 1.2e-38) return std::abs(static_cast<double>(got)) < 1.3e-38 ? 0 : HUGE_VAL;  // may flush
  const double ulp = static_cast<double>(std::nextafter(std::abs(rounded), kInf) - std::abs(rounded));
  return std::abs(static_cast<double>(got) - want) / ulp;
}

void sweep(void (*f)(const float*, float*, int64_t), double (*exact)(double), float lo, float hi, double limit) {
  on_every_isa([&] {
    const int64_t n = 200003;
    Floats x(n), y(n);
    for (int64_t i = 0; i < n; ++i) x[i] = lo + (hi - lo) * (static_cast<float>(i) / static_cast<float>(n));
    f(x.data(), y.data(), n);
    double most = 0;
    float where = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double e = ulps(y[i], exact(static_cast<double>(x[i])));
      if (e > most) most = e, where = x[i];
    }
    CAPTURE(where);
    CHECK(most <= limit);
    return y;
  });
}

// Doubles within `limit` units of the last place of the C library's own.
void sweep_double(void (*f)(const double*, double*, int64_t), double (*exact)(double), double lo, double hi,
                  double limit) {
  on_one_and_two_threads([&] {
    const int64_t n = 50003;
    Numbers<double> x(n), y(n);
    for (int64_t i = 0; i < n; ++i) x[i] = lo + (hi - lo) * (static_cast<double>(i) / static_cast<double>(n));
    f(x.data(), y.data(), n);
    double most = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double want = exact(x[i]);
      if (y[i] != want) most = std::max(most, std::abs(y[i] - want) / (std::abs(want) * 2.3e-16));
    }
    CHECK(most <= limit);
    return y;
  });
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double gelu(double x) { return 0.5 * x * std::erfc(x * -0.70710678118654752); }
double gelu_slope(double x) {
  return 0.5 * std::erfc(x * -0.70710678118654752) + x * std::exp(-0.5 * x * x) * 0.39894228040143268;
}
double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

float at(void (*f)(const float*, float*, int64_t), float x) {
  float y;
  f(&x, &y, 1);
  return y;
}

}  // namespace

TEST_CASE("vmath: exp within 2 ulp") {
  sweep(vexp, std::exp, -90, 90, 2);
  sweep(vexp, std::exp, -1, 1, 2);
}
TEST_CASE("vmath: log within 2 ulp") {
  sweep(vlog, std::log, 1e-6f, 4, 2);
  sweep(vlog, std::log, 0.7f, 1.5f, 2);
  sweep(vlog, std::log, 1, 3e38f, 2);
  sweep(vlog, std::log, 1e-40f, 1e-37f, 2);
}
TEST_CASE("vmath: tanh, sigmoid, softplus within 4 ulp") {
  sweep(vtanh, std::tanh, -12, 12, 4);
  sweep(vtanh, std::tanh, -1, 1, 4);
  sweep(vsigmoid, sigmoid, -87, 20, 4);
  sweep(vsoftplus, softplus, -86, 100, 4);
}

// Of values that vanish: an error as it adds up in sums, not in units of their own last place.
TEST_CASE("vmath: gelu and its slope within 5e-7 + 2e-7 |x|") {
  for (const bool slope : {false, true})
    on_every_isa([&] {
      const int64_t n = 200003;
      Floats x(n), y(n);
      for (int64_t i = 0; i < n; ++i) x[i] = -14 + 28 * (static_cast<float>(i) / static_cast<float>(n));
      (slope ? vgelu_slope<float> : vgelu<float>)(x.data(), y.data(), n);
      double most = 0;
      for (int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<double>(x[i]);
        most = std::max(most, std::abs(static_cast<double>(y[i]) - (slope ? gelu_slope(at) : gelu(at))) /
                                  (5e-7 + 2e-7 * std::abs(at)));
      }
      CHECK(most <= 1);
      return y;
    });
}

TEST_CASE("vmath: doubles are the C library's") {
  sweep_double(vexp, std::exp, -700, 700, 1);
  sweep_double(vlog, std::log, 1e-300, 4, 1);
  sweep_double(vtanh, std::tanh, -12, 12, 1);
  sweep_double(vsigmoid, sigmoid, -700, 40, 2);
  sweep_double(vsoftplus, softplus, -700, 700, 2);
  sweep_double(vgelu, gelu, -12, 12, 4);
  sweep_double(vgelu_slope, gelu_slope, -0.7, 12, 4);
}

TEST_CASE("vmath: e^x is never subnormal") {
  on_every_isa([&] {
    const int64_t n = 3001;
    Floats x(n), y(n);
    for (int64_t i = 0; i < n; ++i) x[i] = -110 + 30 * static_cast<float>(i) / static_cast<float>(n);
    vexp(x.data(), y.data(), n);
    int64_t subnormal = 0, zero = 0;
    for (int64_t i = 0; i < n; ++i) subnormal += y[i] != 0 && y[i] < 1.17549435e-38f, zero += y[i] == 0;
    CHECK(subnormal == 0);
    CHECK(zero > 2000);
    CHECK(zero < 2500);
    return y;
  });
}

TEST_CASE("vmath: the ends of the line") {
  on_every_isa([&] {
    const float nan = std::nanf("");
    CHECK(at(vexp, kInf) == kInf);
    CHECK(at(vexp, -kInf) == 0);
    CHECK(at(vexp, 1e30f) == kInf);
    CHECK(at(vexp, 0) == 1);
    CHECK(std::isnan(at(vexp, nan)));
    CHECK(at(vlog, 0) == -kInf);
    CHECK(at(vlog, 1) == 0);
    CHECK(at(vlog, kInf) == kInf);
    CHECK(std::isnan(at(vlog, -1)));
    CHECK(std::isnan(at(vlog, nan)));
    CHECK(at(vtanh, kInf) == 1);
    CHECK(at(vtanh, -kInf) == -1);
    CHECK(std::isnan(at(vtanh, nan)));
    CHECK(at(vsigmoid, kInf) == 1);
    CHECK(at(vsigmoid, -kInf) == 0);
    CHECK(std::isnan(at(vsigmoid, nan)));
    CHECK(at(vsoftplus, kInf) == kInf);
    CHECK(at(vsoftplus, -kInf) == 0);
    CHECK(std::isnan(at(vsoftplus, nan)));
    vexp<float>(nullptr, nullptr, 0);
    return Floats(0);
  });
}

TEST_CASE("vmath: short arrays touch nothing behind their end") {
  on_every_isa([&] {
    for (int64_t n = 0; n < 40; ++n) {
      Floats x(n + 4, 0.5f), y(n + 4, 7);
      vtanh(x.data(), y.data(), n);
      for (int64_t i = 0; i < 4; ++i) CHECK(y[n + i] == 7);
    }
    return Floats(0);
  });
}
