#include <twotower/layers/checkpoint.h>
#include <twotower/tensor/error.h>

#include <algorithm>
#include <vector>

namespace tt {
namespace {

std::vector<int64_t> dims(const Shape& shape) {
  std::vector<int64_t> out;
  for (int i = 0; i < shape.rank(); ++i) out.push_back(shape[i]);
  return out;
}

template <class T>
void check_entries(const SafetensorsFile& file, const ParameterSet<T>& parameters) {
  const std::string where = "checkpoint " + file.path();
  for (const Parameter<T>* p : parameters.all()) {
    check(file.has(p->name), where, "parameter \"", p->name, "\" is missing; the file belongs to another model config");
    const TensorEntry& entry = file.entry(p->name);
    check(entry.shape == dims(p->value.shape()), where, "parameter \"", p->name, "\" has shape ",
          shape_text(entry.shape), ", the model expects ", p->value.shape(), "; use the config it was trained with");
    (void)file.data<T>(p->name);  // its type
  }
}

template <class T>
void copy_entries(const SafetensorsFile& file, ParameterSet<T>& parameters) {
  for (Parameter<T>* p : parameters.all()) std::copy_n(file.data<T>(p->name), p->value.numel(), p->value.data());
}

}  // namespace

template <class T>
void add_parameters(SafetensorsWriter& writer, const ParameterSet<T>& parameters) {
  for (const Parameter<T>* p : parameters.all()) writer.add(p->name, p->value.data(), dims(p->value.shape()));
}

template <class T>
void read_parameters(const SafetensorsFile& file, ParameterSet<T>& parameters) {
  check_entries(file, parameters);
  copy_entries(file, parameters);
}

template <class T>
void save_parameters(const std::string& path, const ParameterSet<T>& parameters) {
  SafetensorsWriter writer;
  add_parameters(writer, parameters);
  writer.metadata("format", "pt");  // as PyTorch's own writer marks its files
  writer.write(path);
}

template <class T>
void load_parameters(const std::string& path, ParameterSet<T>& parameters) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  check_entries(file, parameters);
  for (const std::string& name : file.names())
    check(parameters.find(name) != nullptr, "checkpoint " + path, "parameter \"", name,
          "\" is not one of the model's; the file belongs to another model config");
  copy_entries(file, parameters);
}

#define TT_INSTANTIATE(T)                                                    \
  template void save_parameters(const std::string&, const ParameterSet<T>&); \
  template void load_parameters(const std::string&, ParameterSet<T>&);       \
  template void add_parameters(SafetensorsWriter&, const ParameterSet<T>&);  \
  template void read_parameters(const SafetensorsFile&, ParameterSet<T>&);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
