#pragma once
// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011). A number is a pure function of (seed, stream, index), so any thread may compute any
// of them, and the numbers are the same for every thread count. Give each purpose its own stream.

#include <array>
#include <cstdint>

namespace tt {

// The bare function: ten rounds over a 128-bit counter with a 64-bit key.
std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

class Philox {
 public:
  explicit Philox(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  std::array<uint32_t, 4> block(uint64_t index) const;  // counter = (index, stream), key = seed

  uint32_t bits(uint64_t index) const;               // 32 random bits
  double uniform(uint64_t index) const;              // [0, 1), 53 bits
  double normal(uint64_t index) const;               // mean 0, variance 1 (Box-Muller; a pair shares one block)
  uint64_t below(uint64_t index, uint64_t n) const;  // 0 .. n-1, n >= 1

  // out[i] = the same as uniform / normal at first + i, scaled; in parallel for large n.
  template <class T>
  void fill_uniform(T* out, int64_t n, T lo, T hi, uint64_t first = 0) const;
  template <class T>
  void fill_normal(T* out, int64_t n, T mean, T stddev, uint64_t first = 0) const;

  // Fisher-Yates, reading indices 0 .. n-2 of this stream.
  template <class T>
  void shuffle(T* values, int64_t n) const {
    for (int64_t i = n - 1; i > 0; --i) {
      const auto j = static_cast<int64_t>(below(static_cast<uint64_t>(i - 1), static_cast<uint64_t>(i) + 1));
      T held = values[i];
      values[i] = values[j];
      values[j] = held;
    }
  }

  uint64_t seed() const { return seed_; }
  uint64_t stream() const { return stream_; }

 private:
  uint64_t seed_, stream_;
};

}  // namespace tt
