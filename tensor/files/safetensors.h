#pragma once
// The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes. Files are
// memory-mapped and never trusted: every offset is checked before a view is handed out, and a refusal is one
// line that names the file, what is wrong and how to mend it.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tt {

enum class DType { F64, I64, U64, F32, I32, U32, F16, BF16, I16, U16, I8, U8, BOOL };

std::string_view dtype_name(DType dtype);
std::size_t dtype_size(DType dtype);  // bytes an element

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return DType::F32;
  else if constexpr (std::is_same_v<T, double>)
    return DType::F64;
  else if constexpr (std::is_same_v<T, int64_t>)
    return DType::I64;
  else if constexpr (std::is_same_v<T, int32_t>)
    return DType::I32;
  else {
    static_assert(std::is_same_v<T, uint8_t>, "safetensors views: float, double, int64_t, int32_t, uint8_t");
    return DType::U8;
  }
}

std::string shape_text(const std::vector<int64_t>& shape);  // "[3, 4]"

struct TensorEntry {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;  // aligned for dtype; lives as long as the SafetensorsFile
  std::size_t bytes = 0;

  int64_t elements() const;
};

// A mapped file, or one that lies in memory. Moves are cheap and keep every pointer valid.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::string& path);
  // The bytes of a file, which must neither change nor go away as long as this lives. Tensors at addresses that do not
  // fit their types are copied. name: what stands for the path, also in errors.
  static SafetensorsFile view(const void* data, std::size_t bytes, const std::string& name);
  SafetensorsFile();
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::string& path() const;
  const std::vector<std::string>& names() const;               // in file order
  const std::map<std::string, std::string>& metadata() const;  // "__metadata__", or empty
  bool has(const std::string& name) const;
  const TensorEntry& entry(const std::string& name) const;  // Error with the nearest name when absent

  // A view as T[...]; Error when the type differs, or the shape does (-1 in `expected` accepts any size).
  template <class T>
  const T* data(const std::string& name) const {
    return reinterpret_cast<const T*>(typed(name, dtype_of<T>(), nullptr));
  }
  template <class T>
  const T* data(const std::string& name, const std::vector<int64_t>& expected) const {
    return reinterpret_cast<const T*>(typed(name, dtype_of<T>(), &expected));
  }

 private:
  const std::byte* typed(const std::string& name, DType dtype, const std::vector<int64_t>* expected) const;
  struct State;
  std::unique_ptr<State> state_;
};

// Collects views, then writes them all at once; the data must live until write() returns. Wider types come
// first in the file, so that every tensor is aligned.
class SafetensorsWriter {
 public:
  void add(const std::string& name, DType dtype, const void* data, std::vector<int64_t> shape);
  template <class T>
  void add(const std::string& name, const T* data, std::vector<int64_t> shape) {
    add(name, dtype_of<T>(), data, std::move(shape));
  }
  void metadata(const std::string& key, const std::string& value) { metadata_[key] = value; }

  // Atomic: a file of this name is either the old one or the whole new one, also after a crash or on a full
  // disk.
  void write(const std::string& path) const;

 private:
  struct Item {
    std::string name;
    DType dtype;
    const void* data;
    std::vector<int64_t> shape;
    std::size_t bytes;
  };
  std::vector<Item> items_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace tt
