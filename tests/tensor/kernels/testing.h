#pragma once
// What the kernel tests share: seeded data at odd addresses, and a loop over instruction sets and thread counts.

#include <doctest/doctest.h>
#include <twotower/tensor/kernels/isa.h>
#include <twotower/tensor/threads/parallel.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <type_traits>
#include <vector>

namespace kernel_tests {

// Numbers that start one off any alignment, so that aligned loads would fault.
template <class T>
class Numbers {
 public:
  explicit Numbers(int64_t n, T value = 0) : data_(static_cast<std::size_t>(n) + 1, value) {}
  T* data() { return data_.data() + 1; }
  const T* data() const { return data_.data() + 1; }
  int64_t size() const { return static_cast<int64_t>(data_.size()) - 1; }
  T& operator[](int64_t i) { return data()[i]; }
  T operator[](int64_t i) const { return data()[i]; }

 private:
  std::vector<T> data_;
};
using Floats = Numbers<float>;

template <class T = float>
Numbers<T> uniform(int64_t n, unsigned seed, std::type_identity_t<T> lo = -1, std::type_identity_t<T> hi = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<T> value(lo, hi);
  Numbers<T> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = value(random);
  return x;
}

template <class T>
bool same_bits(const Numbers<T>& a, const Numbers<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0;
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

// f() on 1 and 2 threads; its numbers must have the same bits on both.
template <class F>
void on_one_and_two_threads(F&& f) {
  const int threads = tt::num_threads();
  tt::set_num_threads(1);
  const auto one = f();
  tt::set_num_threads(2);
  const auto two = f();
  tt::set_num_threads(threads);
  CHECK(same_bits(one, two));
}

// f() on each supported set, and there on 1 and 2 threads.
template <class F>
void on_every_isa(F&& f) {
  const tt::kernels::Isa before = tt::kernels::active_isa();
  for (const tt::kernels::Isa isa : tt::kernels::supported_isas()) {
    CAPTURE(tt::kernels::isa_name(isa));
    tt::kernels::set_isa(isa);
    on_one_and_two_threads(f);
  }
  tt::kernels::set_isa(before);
}

// f(float{}) on each supported set, and f(double{}) on the portable body that float's sets are forms of.
template <class F>
void on_every_body(F&& f) {
  on_every_isa([&] { return f(float{}); });
  CAPTURE("double");
  on_one_and_two_threads([&] { return f(double{}); });
}

// How far a result may be from its reference: a bound for float, rounding alone for double.
template <class T>
constexpr double within(double of_float) {
  return sizeof(T) == sizeof(double) ? 1e-12 : of_float;
}

}  // namespace kernel_tests
