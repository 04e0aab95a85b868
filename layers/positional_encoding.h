#pragma once
// Sinusoidal positional encoding (Vaswani et al. 2017, section 3.5).

#include <twotower/tensor/tensor.h>

namespace tt {

enum class PositionalFormula {
  standard,  // PE[p, 2i] = sin(p / 10000^(2i/D)), PE[p, 2i+1] = cos of the same angle
  doubled,   // column j, even or odd, divides by 10000^(2j/D): exponents twice as large, as some code has it
};

// [length, width] in `pool`.
template <class T>
Tensor<T> positional_encoding(Pool& pool, int64_t length, int64_t width, PositionalFormula formula);

}  // namespace tt
