#pragma once
// The learning rate of a step: a linear rise over the warm-up steps, then constant, linear or cosine (Loshchilov &
// Hutter 2017) decay to zero at the last step.

#include <twotower/train/fit/config.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace tt {

// step: 1 first; total: steps of the whole training.
inline double learning_rate(const TrainConfig& config, int64_t step, int64_t total) {
  const double s = static_cast<double>(step), warmup = static_cast<double>(config.warmup_steps);
  if (s <= warmup) return config.learning_rate * s / warmup;
  const double done = std::min(1.0, (s - 1 - warmup) / std::max(1.0, static_cast<double>(total) - warmup));
  if (config.decay == "linear") return config.learning_rate * (1 - done);
  if (config.decay == "cosine") return config.learning_rate * (1 + std::cos(std::numbers::pi * done)) / 2;
  return config.learning_rate;
}

}  // namespace tt
