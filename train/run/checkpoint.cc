#include <twotower/layers/checkpoint.h>
#include <twotower/tensor/error.h>
#include <twotower/train/run/checkpoint.h>

namespace tt {

void save_model(const std::string& path, const TwoTower<float>& model) {
  SafetensorsWriter writer;
  add_parameters(writer, model.parameters());
  if (model.has_anchor()) add_parameters(writer, *model.anchor_parameters());
  writer.metadata("format", "pt");
  writer.write(path);
}

void load_model(const std::string& path, TwoTower<float>& model) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  read_parameters(file, model.parameters());
  bool anchored = false;
  for (const std::string& name : file.names()) anchored |= name.starts_with("anchor.");
  if (anchored) model.set_anchor();  // nothing for a model that stays near none: the names are then left over
  ParameterSet<float>* anchor = anchored ? model.anchor_parameters() : nullptr;
  if (anchor) read_parameters(file, *anchor);
  for (const std::string& name : file.names())
    check(model.parameters().find(name) || (anchor && anchor->find(name)), "checkpoint " + path, "parameter \"", name,
          "\" is not one of the model's; the file belongs to another model config");
}

}  // namespace tt
