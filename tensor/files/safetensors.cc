#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/tensor/memory.h>
#include <twotower/tensor/text.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

namespace tt {

using nlohmann::json;

namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // as in the format's own implementation

struct DTypeInfo {
  DType dtype;
  const char* name;
  std::size_t size;
};
constexpr DTypeInfo kDTypes[] = {
    {DType::F64, "F64", 8},   {DType::I64, "I64", 8}, {DType::U64, "U64", 8}, {DType::F32, "F32", 4},
    {DType::I32, "I32", 4},   {DType::U32, "U32", 4}, {DType::F16, "F16", 2}, {DType::BF16, "BF16", 2},
    {DType::I16, "I16", 2},   {DType::U16, "U16", 2}, {DType::I8, "I8", 1},   {DType::U8, "U8", 1},
    {DType::BOOL, "BOOL", 1},
};

const DTypeInfo& info_of(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)]; }

// Elements of a shape; false when a size is negative or the number of bytes would not fit.
bool count_elements(const std::vector<int64_t>& shape, int64_t& count) {
  count = 1;
  for (const int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) return false;
  int64_t bytes;
  return !__builtin_mul_overflow(count, int64_t{8}, &bytes);
}

// The parser keeps the last of two equal keys; a file that says two things is refused instead.
json parse_header(const char* text, std::size_t size, std::string& duplicate) {
  std::vector<std::set<std::string>> keys;
  const json::parser_callback_t watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      duplicate = parsed.get<std::string>();
    return true;
  };
  return json::parse(text, text + size, watch);
}

// A number in the header that fits int64, and is not negative.
int64_t read_size(const json& value, const std::string& where, const std::string& name) {
  const bool good = value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{1} << 62;
  check(good, where, "tensor \"", name, "\": ", value.dump(), " is not a size; the header is damaged");
  return value.get<int64_t>();
}

}  // namespace

std::string_view dtype_name(DType dtype) { return info_of(dtype).name; }
std::size_t dtype_size(DType dtype) { return info_of(dtype).size; }

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

int64_t TensorEntry::elements() const { return static_cast<int64_t>(bytes / dtype_size(dtype)); }

struct SafetensorsFile::State {
  std::string path, where;
  const void* map = nullptr;
  std::size_t map_size = 0;
  bool mapped = false;  // by us, not memory of the caller's
  std::vector<std::string> names;
  std::map<std::string, TensorEntry> entries;
  std::map<std::string, std::string> metadata;
  std::vector<AlignedBlock> copies;  // of tensors that a foreign writer left unaligned

  ~State() {
    if (mapped) ::munmap(const_cast<void*>(map), map_size);
  }

  void map_file() {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe is refused, not waited for
    if (fd < 0) fail(where, "cannot be opened: ", std::strerror(errno), "; check the path");
    struct stat status {};
    const bool regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    map_size = regular ? static_cast<std::size_t>(status.st_size) : 0;
    void* at = map_size >= 8 ? ::mmap(nullptr, map_size, PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
    const int error = errno;
    ::close(fd);
    check(regular, where, "is not a regular file; give the path of a .safetensors file");
    if (at == MAP_FAILED) fail(where, "cannot be mapped: ", std::strerror(error), "; is there enough address space?");
    map = at, mapped = at != nullptr;
  }

  json read_header(std::size_t& data_start) {
    check(map_size >= 8, where, "is truncated: ", map_size,
          " bytes, but the header length alone takes 8; copy or write the file again");
    const char* bytes = static_cast<const char*>(map);
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(bytes[i]);
    check(length <= kMaxHeader, where, "has a header of ", length, " bytes, more than the ", kMaxHeader,
          " allowed; it is probably not a safetensors file");
    check(length <= map_size - 8, where, "is truncated: the header takes ", length, " bytes, the file has ",
          map_size - 8, " after the header length; copy or write the file again");
    data_start = 8 + static_cast<std::size_t>(length);
    std::string duplicate;
    json header;
    try {
      header = parse_header(bytes + 8, static_cast<std::size_t>(length), duplicate);
    } catch (const json::exception&) {
      fail(where, "has a header that is not valid JSON; it is damaged or not a safetensors file");
    }
    check(duplicate.empty(), where, "has the name \"", duplicate, "\" twice in its header; write it again");
    check(header.is_object(), where, "has a header that is not a JSON object; it is not a safetensors file");
    return header;
  }

  void read_entry(const std::string& name, const json& value, const std::byte* data, std::size_t data_size) {
    const bool complete = value.is_object() && value.contains("dtype") && value["dtype"].is_string() &&
                          value.contains("shape") && value["shape"].is_array() && value.contains("data_offsets") &&
                          value["data_offsets"].is_array() && value["data_offsets"].size() == 2;
    check(complete, where, "tensor \"", name, "\" lacks a dtype, shape or data_offsets; the header is damaged");
    TensorEntry entry;
    const auto dtype = value["dtype"].get<std::string>();
    const auto* known =
        std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const DTypeInfo& d) { return dtype == d.name; });
    check(known != std::end(kDTypes), where, "tensor \"", name, "\" has the unknown dtype \"", dtype,
          "\"; convert it to F32, F64, I64, I32 or U8");
    entry.dtype = known->dtype;
    for (const json& size : value["shape"]) entry.shape.push_back(read_size(size, where, name));
    const int64_t begin = read_size(value["data_offsets"][0], where, name);
    const int64_t end = read_size(value["data_offsets"][1], where, name);
    check(begin <= end, where, "tensor \"", name, "\": data_offsets [", begin, ", ", end,
          "] run backwards; the header is damaged");
    check(static_cast<std::size_t>(end) <= data_size, where, "tensor \"", name, "\": data_offsets [", begin, ", ", end,
          "] reach beyond the ", data_size, " bytes of data; the file is truncated, copy it again");
    int64_t count;
    check(count_elements(entry.shape, count), where, "tensor \"", name, "\": shape ", shape_text(entry.shape),
          " is too large; the header is damaged");
    entry.bytes = static_cast<std::size_t>(end - begin);
    const std::size_t wanted = static_cast<std::size_t>(count) * known->size;
    check(wanted == entry.bytes, where, "tensor \"", name, "\": ", dtype, " ", shape_text(entry.shape), " takes ",
          wanted, " bytes, data_offsets give ", entry.bytes, "; the header is damaged");
    entry.data = data + begin;
    names.push_back(name);
    entries.emplace(name, std::move(entry));
  }

  // File order, and each byte of the data belongs to exactly one tensor.
  void check_layout(const std::byte* data, std::size_t data_size) {
    std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
      const TensorEntry &x = entries.at(a), &y = entries.at(b);
      return x.data != y.data ? x.data < y.data : x.bytes < y.bytes;
    });
    const std::byte* reached = data;
    const std::string* last = nullptr;
    for (const std::string& name : names) {
      const TensorEntry& entry = entries.at(name);
      check(entry.data >= reached, where, "tensors \"", last ? *last : "", "\" and \"", name,
            "\" overlap; the header is damaged");
      check(entry.data == reached, where, "has ", entry.data - reached, " bytes before tensor \"", name,
            "\" that belong to none; the header is damaged");
      reached = entry.data + entry.bytes;
      last = &name;
    }
    check(reached == data + data_size, where, "has ", data + data_size - reached,
          " bytes after its last tensor; the header is damaged");
  }

  void align() {
    for (auto& [name, entry] : entries) {
      if (entry.bytes == 0 || reinterpret_cast<std::uintptr_t>(entry.data) % dtype_size(entry.dtype) == 0) continue;
      copies.emplace_back(entry.bytes);
      std::memcpy(copies.back().data(), entry.data, entry.bytes);
      entry.data = copies.back().data();
    }
  }

  void read() {
    std::size_t data_start = 0;
    const json header = read_header(data_start);
    const std::byte* data = static_cast<const std::byte*>(map) + data_start;
    const std::size_t data_size = map_size - data_start;
    for (const auto& [name, value] : header.items()) {
      if (name != "__metadata__") {
        read_entry(name, value, data, data_size);
        continue;
      }
      check(value.is_object(), where, "__metadata__ is not a map of texts; the header is damaged");
      for (const auto& [key, text] : value.items()) {
        check(text.is_string(), where, "__metadata__ \"", key, "\" is not a text; the header is damaged");
        metadata[key] = text.get<std::string>();
      }
    }
    check_layout(data, data_size);
    align();
  }
};

SafetensorsFile::SafetensorsFile() = default;
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  SafetensorsFile file;
  file.state_ = std::make_unique<State>();
  file.state_->path = path;
  file.state_->where = "safetensors " + path;
  file.state_->map_file();
  file.state_->read();
  return file;
}

SafetensorsFile SafetensorsFile::view(const void* data, std::size_t bytes, const std::string& name) {
  SafetensorsFile file;
  file.state_ = std::make_unique<State>();
  file.state_->path = name;
  file.state_->where = "safetensors " + name;
  file.state_->map = data, file.state_->map_size = bytes;
  file.state_->read();
  return file;
}

const std::string& SafetensorsFile::path() const { return state_->path; }
const std::vector<std::string>& SafetensorsFile::names() const { return state_->names; }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const { return state_->metadata; }
bool SafetensorsFile::has(const std::string& name) const { return state_->entries.count(name) != 0; }

const TensorEntry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = state_->entries.find(name);
  if (found != state_->entries.end()) return found->second;
  const std::string near = nearest_name(name, state_->names);
  fail(state_->where, "has no tensor \"", name, "\"",
       near.empty() ? "; `twotower inspect` lists what it holds" : "; did you mean \"" + near + "\"?");
}

const std::byte* SafetensorsFile::typed(const std::string& name, DType dtype,
                                        const std::vector<int64_t>* expected) const {
  const TensorEntry& e = entry(name);
  check(e.dtype == dtype, state_->where, "tensor \"", name, "\" is ", dtype_name(e.dtype), ", expected ",
        dtype_name(dtype), "; convert it");
  if (expected) {
    bool same = e.shape.size() == expected->size();
    for (std::size_t i = 0; same && i < e.shape.size(); ++i)
      same = (*expected)[i] == -1 || (*expected)[i] == e.shape[i];
    check(same, state_->where, "tensor \"", name, "\" has shape ", shape_text(e.shape), ", expected ",
          shape_text(*expected), "; was it written for another configuration?");
  }
  return e.data;
}

}  // namespace tt
