#include <twotower/tensor/error.h>
#include <twotower/tensor/safetensors.h>
#include <twotower/train/fit/checkpoint.h>

#include <vector>

namespace tt {
namespace {

std::vector<int64_t> dims(const Shape& shape) {
  std::vector<int64_t> out;
  for (int i = 0; i < shape.rank(); ++i) out.push_back(shape[i]);
  return out;
}

void load_set(const SafetensorsFile& file, ParameterSet<float>& parameters, std::vector<std::string>& used) {
  for (Parameter<float>* p : parameters.all()) {
    check(file.has(p->name), "checkpoint " + file.path(), "parameter \"", p->name,
          "\" is missing; the file belongs to another model config");
    const TensorEntry& entry = file.entry(p->name);
    check(entry.shape == dims(p->value.shape()), "checkpoint " + file.path(), "parameter \"", p->name, "\" has shape ",
          shape_text(entry.shape), ", the model expects ", p->value.shape(), "; use the config it was trained with");
    const float* data = file.data<float>(p->name);
    std::copy(data, data + p->value.numel(), p->value.data());
    used.push_back(p->name);
  }
}

}  // namespace

void add_parameters(SafetensorsWriter& writer, const ParameterSet<float>& parameters) {
  for (const Parameter<float>* p : parameters.all()) writer.add(p->name, p->value.data(), dims(p->value.shape()));
}

void save_model(const std::string& path, const TwoTower<float>& model) {
  SafetensorsWriter writer;
  add_parameters(writer, model.parameters());
  if (model.has_anchor()) add_parameters(writer, *model.anchor_parameters());
  writer.metadata("format", "pt");  // as PyTorch's own writer marks its files
  writer.write(path);
}

void load_model(const std::string& path, TwoTower<float>& model) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::vector<std::string> used;
  load_set(file, model.parameters(), used);
  bool anchored = false;
  for (const std::string& name : file.names()) anchored |= name.starts_with("anchor.");
  if (anchored) {
    model.set_anchor();
    load_set(file, *model.anchor_parameters(), used);
  }
  for (const std::string& name : file.names())
    check(std::find(used.begin(), used.end(), name) != used.end(), "checkpoint " + path, "parameter \"", name,
          "\" is not one of the model's; the file belongs to another model config");
}

}  // namespace tt
