#pragma once
// One error type for every mistake a caller can make. Its text is one line: the op or file in brackets, what was
// expected and found, and how to mend it. Programs print it and exit with status 2.

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tt {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// There is no memory for what was asked.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

// Throws Error("[where] " + message).
[[noreturn]] void throw_error(std::string_view where, const std::string& message);

// fail("matmul", "inner sizes differ: ", a, " x ", b) joins its parts with operator<< and throws.
template <class... Parts>
[[noreturn]] void fail(std::string_view where, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw_error(where, text.str());
}

// check(ok, where, parts...) fails unless ok; the message is built, and the length of `where` counted, only on failure.
template <class Where, class... Parts>
void check(bool ok, const Where& where, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail(where, parts...);
}

}  // namespace tt
