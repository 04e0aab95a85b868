#pragma once
// A parameter set in a safetensors file and back, a line each:
//
//   save_parameters("model.safetensors", parameters);
//   load_parameters("model.safetensors", parameters);
//
// PyTorch reads such a file with safetensors.torch.load_file, and load_state_dict takes it where the names agree.

#include <twotower/layers/parameter_set.h>
#include <twotower/tensor/files/safetensors.h>

namespace tt {

// Atomic: the file is the old one or the whole new one.
template <class T>
void save_parameters(const std::string& path, const ParameterSet<T>& parameters);
// Throws Error, naming the parameter, if one is missing, left over or of another shape; nothing is changed then.
template <class T>
void load_parameters(const std::string& path, ParameterSet<T>& parameters);

// The same as parts of larger files: views of all parameters, which must live until the writer writes; and all
// parameters from entries of their names, other entries being none of its business.
template <class T>
void add_parameters(SafetensorsWriter& writer, const ParameterSet<T>& parameters);
template <class T>
void read_parameters(const SafetensorsFile& file, ParameterSet<T>& parameters);

}  // namespace tt
