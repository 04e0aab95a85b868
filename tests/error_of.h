#pragma once
// For tests of refusals: a message's text is part of its test.

#include <twotower/tensor/error.h>

#include <string>

namespace tt {

// The message of the tt::Error that f throws, with `path` replaced by FILE; "" when it throws none.
template <class F>
std::string error_of(F&& f, const std::string& path = "") {
  try {
    f();
  } catch (const Error& error) {
    std::string text = error.what();
    for (size_t at; !path.empty() && (at = text.find(path)) != std::string::npos;)
      text.replace(at, path.size(), "FILE");
    return text;
  }
  return "";
}

}  // namespace tt
