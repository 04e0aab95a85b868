#include <twotower/layers/positional_encoding.h>

#include <cmath>

namespace tt {

template <class T>
Tensor<T> positional_encoding(Pool& pool, int64_t length, int64_t width, PositionalFormula formula) {
  const Tensor<T> pe = make_tensor<T>(pool, {length, width});
  for (int64_t p = 0; p < length; ++p)
    for (int64_t j = 0; j < width; ++j) {
      const int64_t exponent = formula == PositionalFormula::standard ? j - j % 2 : 2 * j;
      const double angle =
          static_cast<double>(p) / std::pow(10000.0, static_cast<double>(exponent) / static_cast<double>(width));
      pe.row(p)[j] = static_cast<T>(j % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  return pe;
}

template Tensor<float> positional_encoding(Pool&, int64_t, int64_t, PositionalFormula);
template Tensor<double> positional_encoding(Pool&, int64_t, int64_t, PositionalFormula);

}  // namespace tt
