#include <twotower/models/retrieval/c_api/call.h>

#include <limits>
#include <new>
#include <string>

namespace tt::c_api {
namespace {

thread_local char last_error[kErrorText] = "";

// The length of the UTF-8 sequence at the start of a text that is not empty; 0 where there is none (RFC 3629).
size_t sequence_length(std::string_view text) noexcept {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||  // overlong, surrogates
      (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f))
    return 0;
  return length;
}

// Writes as much of the text as ends before `end`, in whole characters; a byte that belongs to none becomes '?'.
char* copy_characters(std::string_view text, char* to, const char* end) noexcept {
  while (!text.empty()) {
    const size_t length = sequence_length(text), taken = std::max<size_t>(length, 1);
    if (to + taken >= end) break;
    if (length == 0)
      *to = '?';
    else
      std::memcpy(to, text.data(), length);
    to += taken;
    text.remove_prefix(taken);
  }
  *to = 0;
  return to;
}

// A text that is too long, for it holds a long id or path, loses some of its middle: its end says what is wrong and how
// to mend it.
void copy_text(std::string_view text, char* to) noexcept {
  constexpr std::string_view kGap = " ... ";
  constexpr size_t kTail = 400;
  const char* end = to + kErrorText;
  if (text.size() >= kErrorText) {
    to = copy_characters(text, to, end - kTail - kGap.size());
    to = copy_characters(kGap, to, end);
    text = text.substr(text.size() - (kTail - 1));
    while (!text.empty() && (static_cast<unsigned char>(text[0]) & 0xc0) == 0x80) text.remove_prefix(1);
  }
  copy_characters(text, to, end);
}

}  // namespace

tt_status keep_error(tt_status status, std::string_view text, char* also) noexcept {
  copy_text(text, last_error);
  if (also) std::memcpy(also, last_error, kErrorText);
  return status;
}

tt_status keep_exception(tt_status of_error, char* also) noexcept {
  try {
    throw;
  } catch (const Refused& error) {
    return keep_error(error.status(), error.what(), also);
  } catch (const OutOfMemory& error) {
    return keep_error(TT_ERROR_MEMORY, error.what(), also);
  } catch (const NotFound& error) {
    return keep_error(TT_ERROR_NOT_FOUND, error.what(), also);
  } catch (const AlreadyThere& error) {
    return keep_error(TT_ERROR_EXISTS, error.what(), also);
  } catch (const Damaged& error) {
    return keep_error(TT_ERROR_CORRUPT, error.what(), also);
  } catch (const Error& error) {
    return keep_error(of_error, error.what(), also);
  } catch (const std::bad_alloc&) {
    return keep_error(TT_ERROR_MEMORY, "[memory] there is no memory for this call; ask for less at a time", also);
  } catch (const std::length_error&) {
    return keep_error(TT_ERROR_MEMORY, "[memory] no memory could hold what this call asks for; ask for less", also);
  } catch (const std::exception& error) {
    try {
      return keep_error(TT_ERROR_INTERNAL,
                        std::string("[twotower] ") + error.what() + "; this is a mistake of the library, report it",
                        also);
    } catch (...) {
      return keep_error(TT_ERROR_INTERNAL, error.what(), also);
    }
  } catch (...) {
    return keep_error(TT_ERROR_INTERNAL, "[twotower] an unknown exception; this is a mistake of the library, report it",
                      also);
  }
}

void check_array(const void* pointer, size_t count, const char* where, const char* name) {
  if (count > 0) need(pointer, where, name);
  if (count > static_cast<size_t>(std::numeric_limits<int32_t>::max())) [[unlikely]]
    refuse(TT_ERROR_ARGUMENT, where, "there are ", count, " ", name, ", more than the ",
           std::numeric_limits<int32_t>::max(), " that a call takes");
}

void check_buffer(const float* to, size_t size, size_t n, int64_t dimension, const char* where) {
  check_array(to, n, where, "vectors");
  const size_t wanted = n * static_cast<size_t>(dimension);  // no overflow: 31 bits each
  if (size < wanted) [[unlikely]]
    refuse(TT_ERROR_ARGUMENT, where, "vectors_size is ", size, " floats, ", n, " vectors of ", dimension, " take ",
           wanted);
}

bool read_flag(int32_t value, const char* where, const char* name) {
  if (value != 0 && value != 1) [[unlikely]]
    refuse(TT_ERROR_ARGUMENT, where, name, " is ", value, "; give 0 or 1");
  return value == 1;
}

void read_bytes(const void* given, size_t known, void* own, const char* where, const char* name) {
  size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  if (size < known || size > 4096) [[unlikely]]
    refuse(TT_ERROR_ARGUMENT, where, name, ": struct_size is ", size,
           ", which is no version's; set it to the struct's ", "sizeof (", known, " in this version)");
  std::memcpy(own, given, known);
  for (size_t i = known; i < size; ++i)
    if (static_cast<const unsigned char*>(given)[i] != 0) [[unlikely]]
      refuse(TT_ERROR_ARGUMENT, where, name, ": a field of a later version is set; this library is ",
             tt_version_string(), ", use a later one or leave the field 0");
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace tt::c_api

extern "C" {

int tt_version_number(void) { return TT_VERSION_NUMBER; }

#define TT_TEXT(x) #x
#define TT_DOTTED(a, b, c) TT_TEXT(a) "." TT_TEXT(b) "." TT_TEXT(c)
const char* tt_version_string(void) { return TT_DOTTED(TT_VERSION_MAJOR, TT_VERSION_MINOR, TT_VERSION_PATCH); }
#undef TT_DOTTED
#undef TT_TEXT

const char* tt_status_name(tt_status status) {
  switch (status) {
    case TT_OK:
      return "TT_OK";
    case TT_ERROR_ARGUMENT:
      return "TT_ERROR_ARGUMENT";
    case TT_ERROR_HANDLE:
      return "TT_ERROR_HANDLE";
    case TT_ERROR_BUSY:
      return "TT_ERROR_BUSY";
    case TT_ERROR_NOT_FOUND:
      return "TT_ERROR_NOT_FOUND";
    case TT_ERROR_EXISTS:
      return "TT_ERROR_EXISTS";
    case TT_ERROR_UNSUPPORTED:
      return "TT_ERROR_UNSUPPORTED";
    case TT_ERROR_IO:
      return "TT_ERROR_IO";
    case TT_ERROR_CORRUPT:
      return "TT_ERROR_CORRUPT";
    case TT_ERROR_MEMORY:
      return "TT_ERROR_MEMORY";
    case TT_ERROR_INTERNAL:
      return "TT_ERROR_INTERNAL";
    default:
      return "TT_ERROR_UNKNOWN";
  }
}

const char* tt_last_error(void) { return tt::c_api::last_error; }

}  // extern "C"
