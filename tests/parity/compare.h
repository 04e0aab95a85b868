#pragma once
// Holds one safetensors file of results to another, by the allowances of tests/parity/README.md.

#include <twotower/tensor/files/safetensors.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace tt::parity {

struct Difference {
  std::string name;  // the tensor
  double error = 0;  // largest |found - expected|; infinite for another shape, type, item, a NaN or a missing name
  double allowed = 0;
  std::string text;  // where the largest one is, or what is wrong
  bool ok() const { return error <= allowed; }
};

// Some gradients are zero but for rounding (softmax does not see the item tower's bias, nor attention its key
// bias).
inline constexpr double least_allowance = 1e-6;
inline constexpr double loss_share = 1e-5;     // of the expected loss
inline constexpr double largest_share = 1e-4;  // of the largest expected entry: gradients, embeddings, scores, values

// Adam trajectories: parameters after 20 steps. An element whose gradient never reached flat_gradient is left
// out: Adam divides a gradient by its own size, and there it is float's rounding that would be divided.
inline constexpr double trajectory_allowance = 1e-4;
inline constexpr double flat_gradient = 1e-6;

inline bool starts_with(const std::string& text, const std::string& prefix) { return text.rfind(prefix, 0) == 0; }

inline Difference refused(const std::string& name, const std::string& why) {
  return {name, std::numeric_limits<double>::infinity(), 0, why};
}

// F32 tensors element by element; `skip(i)` leaves one out.
template <class Skip>
Difference largest_error(const std::string& name, const TensorEntry& want, const TensorEntry& have, Skip skip) {
  if (have.shape != want.shape)
    return refused(name, "expected " + shape_text(want.shape) + ", found " + shape_text(have.shape));
  if (want.dtype != DType::F32 || have.dtype != DType::F32) return refused(name, "expected F32 in both files");
  const auto* w = reinterpret_cast<const float*>(want.data);
  const auto* h = reinterpret_cast<const float*>(have.data);
  Difference result{name, 0, 0, ""};
  double scale = 0;
  for (int64_t i = 0; i < want.elements(); ++i) {
    scale = std::max(scale, std::fabs(static_cast<double>(w[i])));
    if (skip(i)) continue;
    const double error = std::fabs(static_cast<double>(h[i]) - w[i]);
    if (error <= result.error) continue;  // false for a NaN, which then stays: nothing is larger
    std::ostringstream text;
    text << "[" << i << "] expected " << w[i] << ", found " << h[i];
    result.text = text.str();
    result.error = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
  }
  result.allowed = std::max(least_allowance, scale * (name == "loss" ? loss_share : largest_share));
  return result;
}

inline Difference same_items(const std::string& name, const TensorEntry& want, const TensorEntry& have) {
  if (have.shape != want.shape)
    return refused(name, "expected " + shape_text(want.shape) + ", found " + shape_text(have.shape));
  if (want.dtype != DType::I64 || have.dtype != DType::I64) return refused(name, "expected I64 in both files");
  const auto* w = reinterpret_cast<const int64_t*>(want.data);
  const auto* h = reinterpret_cast<const int64_t*>(have.data);
  for (int64_t i = 0; i < want.elements(); ++i)
    if (w[i] != h[i])
      return refused(name, "[" + std::to_string(i) + "] expected item " + std::to_string(w[i]) + ", found " +
                               std::to_string(h[i]));
  return {name, 0, 0, ""};
}

// Every name of `expected` in `found`: loss, embeddings, gradients, retrieved items and their scores or
// values. Names that only `found` has are not looked at.
inline std::vector<Difference> compare_step(const SafetensorsFile& expected, const SafetensorsFile& found) {
  std::vector<Difference> all;
  for (const auto& name : expected.names()) {
    if (!found.has(name)) {
      all.push_back(refused(name, "missing"));
    } else if (name == "retrieved_items") {
      all.push_back(same_items(name, expected.entry(name), found.entry(name)));
    } else {
      all.push_back(largest_error(name, expected.entry(name), found.entry(name), [](int64_t) { return false; }));
    }
  }
  return all;
}

// `expected` is a trajectory.safetensors (param.NAME, grad_max.NAME); `parameters` a checkpoint after its 20
// steps.
inline std::vector<Difference> compare_trajectory(const SafetensorsFile& expected, const SafetensorsFile& parameters) {
  const std::string prefix = "param.";
  std::vector<Difference> all;
  for (const auto& key : expected.names()) {
    if (!starts_with(key, prefix)) continue;
    const std::string name = key.substr(prefix.size());
    if (!parameters.has(name)) {
      all.push_back(refused(name, "missing"));
      continue;
    }
    const auto* steepest = expected.data<float>("grad_max." + name, expected.entry(key).shape);
    // A table's row that was never touched must not have moved at all, so its exact zeros are compared as well. In
    // other parameters a zero may be one of exact arithmetic only, where rounding puts a little to either side.
    const bool table = expected.entry(key).shape.size() == 2 && name.find("_embedding_arch.") != std::string::npos;
    all.push_back(largest_error(name, expected.entry(key), parameters.entry(name), [&](int64_t i) {
      return steepest[i] < flat_gradient && !(table && steepest[i] == 0);
    }));
    all.back().allowed = trajectory_allowance;
  }
  return all;
}

}  // namespace tt::parity
