#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <cmath>

namespace tt {

namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;  // golden ratio, sqrt(3) - 1
__extension__ typedef unsigned __int128 Wide;
constexpr int64_t kGrain = 1 << 15;

uint64_t join(uint32_t high, uint32_t low) { return (static_cast<uint64_t>(high) << 32) | low; }

// The top 53 bits as a double in [0, 1).
double to_unit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }

struct NormalPair {
  double first, second;
};

NormalPair box_muller(const std::array<uint32_t, 4>& b) {
  const double u = 1.0 - to_unit(join(b[0], b[1]));  // (0, 1]: the logarithm is finite
  const double angle = 6.283185307179586476925 * to_unit(join(b[2], b[3]));
  const double radius = std::sqrt(-2.0 * std::log(u));
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kMultiplier0) * c[0];
    const uint64_t p1 = static_cast<uint64_t>(kMultiplier1) * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += kWeyl0;
    k[1] += kWeyl1;
  }
  return c;
}

std::array<uint32_t, 4> Philox::block(uint64_t index) const {
  return philox4x32_10({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                        static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)},
                       {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
}

uint32_t Philox::bits(uint64_t index) const { return block(index >> 2)[index & 3]; }

double Philox::uniform(uint64_t index) const {
  const auto b = block(index >> 1);
  return (index & 1) ? to_unit(join(b[2], b[3])) : to_unit(join(b[0], b[1]));
}

double Philox::normal(uint64_t index) const {
  const NormalPair pair = box_muller(block(index >> 1));
  return (index & 1) ? pair.second : pair.first;
}

uint64_t Philox::below(uint64_t index, uint64_t n) const {
  // 64 random bits times n, upper half: the bias is below n / 2^64, and one index always costs one block.
  const auto b = block(index);
  return static_cast<uint64_t>((static_cast<Wide>(join(b[0], b[1])) * n) >> 64);
}

template <class T>
void Philox::fill_uniform(T* out, int64_t n, T lo, T hi, uint64_t first) const {
  const double low = static_cast<double>(lo), width = static_cast<double>(hi) - low;
  parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      out[i] = static_cast<T>(low + width * uniform(first + static_cast<uint64_t>(i)));
  });
}

template <class T>
void Philox::fill_normal(T* out, int64_t n, T mean, T stddev, uint64_t first) const {
  const double m = static_cast<double>(mean), s = static_cast<double>(stddev);
  parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    const auto index = [&] { return first + static_cast<uint64_t>(i); };
    if (i < end && (index() & 1)) out[i] = static_cast<T>(m + s * normal(index())), ++i;
    for (; i + 1 < end; i += 2) {  // both halves of a pair from one block
      const NormalPair pair = box_muller(block(index() >> 1));
      out[i] = static_cast<T>(m + s * pair.first);
      out[i + 1] = static_cast<T>(m + s * pair.second);
    }
    if (i < end) out[i] = static_cast<T>(m + s * normal(index()));
  });
}

template void Philox::fill_uniform(float*, int64_t, float, float, uint64_t) const;
template void Philox::fill_uniform(double*, int64_t, double, double, uint64_t) const;
template void Philox::fill_normal(float*, int64_t, float, float, uint64_t) const;
template void Philox::fill_normal(double*, int64_t, double, double, uint64_t) const;

}  // namespace tt
