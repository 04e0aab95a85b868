#pragma once
// The learning rate of a step: a linear rise over the warm-up steps, then constant, linear or cosine (Loshchilov &
// Hutter 2017) decay that would reach zero one step after the last.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>

namespace tt {

struct Schedule {
  double learning_rate = 1e-3;
  int64_t warmup_steps = 0;
  std::string decay = "none";  // "linear" | "cosine"

  // step: 1 first; total: steps of the whole training.
  double at(int64_t step, int64_t total) const {
    const double s = static_cast<double>(step), warmup = static_cast<double>(warmup_steps);
    if (s <= warmup) return learning_rate * s / warmup;
    const double done = std::min(1.0, (s - 1 - warmup) / std::max(1.0, static_cast<double>(total) - warmup));
    if (decay == "linear") return learning_rate * (1 - done);
    if (decay == "cosine") return learning_rate * (1 + std::cos(std::numbers::pi * done)) / 2;
    return learning_rate;
  }
};

}  // namespace tt
