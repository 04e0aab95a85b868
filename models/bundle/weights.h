#pragma once
// What a bundle's parts are told from others by: its weights, and the tensors beside them.

#include <twotower/layers/parameter_set.h>
#include <twotower/tensor/files/safetensors.h>

#include <map>
#include <string>
#include <vector>

namespace tt {

struct Weight {
  std::string name;  // as in a checkpoint
  std::vector<int64_t> shape;
  const float* data;
  int64_t count() const;
};

std::vector<Weight> weights_of(const ParameterSet<float>& parameters);

std::string fingerprint_of(const std::vector<Weight>& weights);  // names, shapes and every value
// The same from a few values of each: in no time whatever the size, and enough to notice that the weights are others.
std::string sample_of(const std::vector<Weight>& weights);

// Names, types, shapes and every byte.
std::string fingerprint_of(const std::map<std::string, TensorEntry>& tensors);

}  // namespace tt
