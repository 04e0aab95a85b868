#pragma once
// A model's parameters in a safetensors file, under the names of the parameter table: PyTorch loads it as it is.

#include <twotower/models/two_tower.h>

#include <string>

namespace tt {

// Atomic: the file is the old one or the whole new one. With a frozen anchor, if there is one, under "anchor.NAME":
// what a training goes on from.
void save_model(const std::string& path, const TwoTower<float>& model);

// Throws Error, naming the parameter, if one is missing, left over or of another shape.
void load_model(const std::string& path, TwoTower<float>& model);

}  // namespace tt
