#pragma once

#include <twotower/train/evaluate/metrics.h>

#include <nlohmann/json.hpp>

namespace tt {

inline nlohmann::ordered_json to_json(const Measures& measures) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const auto& [name, value] : measures.all()) out[name] = value;
  return out;
}

}  // namespace tt
