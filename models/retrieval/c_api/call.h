#pragma once
// What every entry point goes through: exceptions become codes and texts, and what the caller passed is checked before
// it is used.

#include <twotower/models/retrieval/c_api/twotower.h>
#include <twotower/tensor/error.h>

#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace tt::c_api {

inline constexpr size_t kErrorText = 1024;  // bytes of an error's text, its zero among them

class Refused : public Error {
 public:
  Refused(tt_status status, const std::string& text) : Error(text), status_(status) {}
  tt_status status() const { return status_; }

 private:
  tt_status status_;
};

// refuse(TT_ERROR_ARGUMENT, "tt_search", "k = ", k, "; ...") joins its parts and throws.
template <class... Parts>
[[noreturn]] void refuse(tt_status status, std::string_view where, const Parts&... parts) {
  throw Refused(status, error_text(where, joined(parts...)));
}

// Keeps the text as the thread's last error and, if given, in `also` [kErrorText]; returns the status.
tt_status keep_error(tt_status status, std::string_view text, char* also = nullptr) noexcept;
// The same of the exception that is being handled; of_error: what an Error means that is of no kind.
tt_status keep_exception(tt_status of_error, char* also) noexcept;

template <class F>
tt_status guarded(tt_status of_error, char* also, F&& f) noexcept {
  try {
    f();
    return TT_OK;
  } catch (...) {
    return keep_exception(of_error, also);
  }
}

// ---- Arguments: `where` is the function's name, `name` the argument's.

inline void need(const void* pointer, const char* where, const char* name) {
  if (!pointer) [[unlikely]]
    refuse(TT_ERROR_ARGUMENT, where, name, " is NULL");
}
// A pointer and a count that belong together.
void check_array(const void* pointer, size_t count, const char* where, const char* name);
// The caller's memory for n vectors.
void check_buffer(const float* to, size_t size, size_t n, int64_t dimension, const char* where);
bool read_flag(int32_t value, const char* where, const char* name);

// A struct that begins with struct_size, as the caller's version has it; what that does not have is zero.
void read_bytes(const void* given, size_t known, void* own, const char* where, const char* name);
template <class T>
T read_struct(const T* given, const char* where, const char* name) {
  static_assert(std::is_trivially_copyable_v<T>);
  T own{};
  if (given) read_bytes(given, sizeof own, &own, where, name);
  return own;
}

// An array of such structs.
template <class T>
class Structs {
 public:
  Structs(const T* first, size_t count, const char* where, const char* name)
      : first_(reinterpret_cast<const std::byte*>(first)), count_(count), where_(where), name_(name) {
    check_array(first, count, where, name);
    if (count > 0) std::memcpy(&stride_, first, sizeof stride_);
  }
  size_t size() const { return count_; }
  T operator[](size_t i) const {
    T own{};
    const std::byte* at = first_ + i * stride_;
    size_t size = 0;
    std::memcpy(&size, at, sizeof size);
    if (size != stride_) [[unlikely]]
      refuse(TT_ERROR_ARGUMENT, where_, name_, "[", i, "].struct_size is ", size, ", that of ", name_, "[0] is ",
             stride_, "; they must be the same");
    read_bytes(at, sizeof own, &own, where_, name_);
    return own;
  }

 private:
  const std::byte* first_;
  size_t count_, stride_ = 0;
  const char *where_, *name_;
};

// Texts, of which none may be NULL.
class Texts {
 public:
  Texts(const char* const* first, size_t count, const char* where, const char* name)
      : texts_(first, first ? count : 0), where_(where), name_(name) {
    check_array(first, count, where, name);
  }
  size_t size() const { return texts_.size(); }
  std::string_view operator[](size_t i) const {
    if (!texts_[i]) [[unlikely]]
      refuse(TT_ERROR_ARGUMENT, where_, name_, "[", i, "] is NULL");
    return texts_[i];
  }

 private:
  std::span<const char* const> texts_;
  const char *where_, *name_;
};

bool is_utf8(std::string_view text) noexcept;

}  // namespace tt::c_api
