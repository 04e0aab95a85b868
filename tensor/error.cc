#include <twotower/tensor/error.h>

namespace tt {

std::string error_text(std::string_view where, const std::string& message) {
  std::string text;
  for (const char c : "[" + std::string(where) + "] " + message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      text += c;
    } else if (c == '\n' || c == '\t') {
      text += c == '\n' ? "\\n" : "\\t";
    } else {
      constexpr char kHex[] = "0123456789abcdef";
      text += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return text;
}

}  // namespace tt
