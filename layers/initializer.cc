#include <twotower/layers/initializer.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <cmath>

namespace tt {
namespace {

uint64_t fnv1a(std::string_view text) {
  uint64_t h = 14695981039346656037ull;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return h;
}

}  // namespace

Initializer Initializer::fan_in(int64_t in) {
  return uniform(1 / std::sqrt(static_cast<double>(std::max<int64_t>(in, 1))));
}

Initializer Initializer::xavier(int64_t in, int64_t out) {
  return uniform(std::sqrt(6.0 / static_cast<double>(std::max<int64_t>(in + out, 1))));
}

template <class T>
void initialize(Tensor<T> values, const Initializer& how, uint64_t seed, std::string_view name) {
  const Philox random(seed, fnv1a(name));
  parallel_for(0, values.numel(), 1 << 16, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) {
      const auto index = static_cast<uint64_t>(i);
      switch (how.kind) {
        case Initializer::Kind::constant:
          values[i] = static_cast<T>(how.scale);
          break;
        case Initializer::Kind::uniform:
          values[i] = static_cast<T>(how.scale * (2 * random.uniform(index) - 1));
          break;
        case Initializer::Kind::normal:
          values[i] = static_cast<T>(how.scale * random.normal(index));
          break;
      }
    }
  });
}

template void initialize(Tensor<float>, const Initializer&, uint64_t, std::string_view);
template void initialize(Tensor<double>, const Initializer&, uint64_t, std::string_view);

}  // namespace tt
