#pragma once
// NumPy's .npy format, version 1.0, for a matrix of floats.

#include <twotower/tensor/tensor.h>

#include <string>

namespace tt {

// Atomic. values: [rows, cols].
void write_npy(const std::string& path, Tensor<const float> values);

}  // namespace tt
