#pragma once
// What the kernel tests share: seeded data at odd addresses, and a loop over instruction sets and thread counts.

#include <doctest/doctest.h>
#include <twotower/tensor/kernels/isa.h>
#include <twotower/tensor/parallel.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace kernel_tests {

// Floats that start 4 bytes off any alignment, so that aligned loads would fault.
class Floats {
 public:
  explicit Floats(int64_t n, float value = 0) : data_(static_cast<std::size_t>(n) + 1, value) {}
  float* data() { return data_.data() + 1; }
  const float* data() const { return data_.data() + 1; }
  int64_t size() const { return static_cast<int64_t>(data_.size()) - 1; }
  float& operator[](int64_t i) { return data()[i]; }
  float operator[](int64_t i) const { return data()[i]; }

 private:
  std::vector<float> data_;
};

inline Floats uniform(int64_t n, unsigned seed, float lo = -1, float hi = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> value(lo, hi);
  Floats x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = value(random);
  return x;
}

inline bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * 4) == 0;
}

// Largest |a - b| / (1 + |b|); infinite on a NaN in either.
template <class A, class B>
double worst(const A& a, const B& b, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    const double e = std::abs(x - y) / (1 + std::abs(y));
    if (!(e <= most)) most = std::isnan(e) ? HUGE_VAL : e;
  }
  return most;
}

// f() on each supported set, and there on 1 and 2 threads; f's Floats must have the same bits on both.
template <class F>
void on_every_isa(F&& f) {
  const tt::kernels::Isa before = tt::kernels::active_isa();
  const int threads = tt::num_threads();
  for (const tt::kernels::Isa isa : tt::kernels::supported_isas()) {
    CAPTURE(tt::kernels::isa_name(isa));
    tt::kernels::set_isa(isa);
    tt::set_num_threads(1);
    const Floats one = f();
    tt::set_num_threads(2);
    const Floats two = f();
    CHECK(same_bits(one, two));
  }
  tt::kernels::set_isa(before);
  tt::set_num_threads(threads);
}

}  // namespace kernel_tests
