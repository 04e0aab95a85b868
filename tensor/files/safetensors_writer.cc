#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/files/safetensors.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace tt {

void SafetensorsWriter::add(const std::string& name, DType dtype, const void* data, std::vector<int64_t> shape) {
  check(!name.empty() && name != "__metadata__", "safetensors", "a tensor cannot be named \"", name, "\"");
  for (const Item& item : items_) check(item.name != name, "safetensors", "the tensor \"", name, "\" was added twice");
  int64_t count = 1;
  for (const int64_t size : shape) {
    check(size >= 0, "safetensors", "tensor \"", name, "\": shape ", shape_text(shape), " has a negative size");
    count *= size;
  }
  check(data || count == 0, "safetensors", "tensor \"", name, "\" has no data");
  items_.push_back({name, dtype, data, std::move(shape), static_cast<std::size_t>(count) * dtype_size(dtype)});
}

void SafetensorsWriter::write(const std::string& path) const {
  std::vector<const Item*> order;
  for (const Item& item : items_) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(),
                   [](const Item* a, const Item* b) { return dtype_size(a->dtype) > dtype_size(b->dtype); });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  std::size_t offset = 0;
  for (const Item* item : order) {
    header[item->name] = {
        {"dtype", dtype_name(item->dtype)}, {"shape", item->shape}, {"data_offsets", {offset, offset + item->bytes}}};
    offset += item->bytes;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    fail("safetensors " + path, "a tensor name or metadata text is not valid UTF-8");
  }
  text.append((64 - (8 + text.size()) % 64) % 64, ' ');  // the data starts on a cache line

  AtomicFile file(path);
  unsigned char length[8];
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(text.size() >> (8 * i));
  file.write(length, 8);
  file.write(text.data(), text.size());
  for (const Item* item : order) file.write(item->data, item->bytes);
  file.commit();
}

}  // namespace tt
