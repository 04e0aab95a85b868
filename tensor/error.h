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

// Throws Error("[where] " + message).
[[noreturn]] void throw_error(std::string_view where, const std::string& message);

// fail("matmul", "inner sizes differ: ", a, " x ", b) joins its parts with operator<< and throws.
template <class... Parts>
[[noreturn]] void fail(std::string_view where, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw_error(where, text.str());
}

// check(ok, where, parts...) fails unless ok; the message is built only on failure.
template <class... Parts>
void check(bool ok, std::string_view where, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail(where, parts...);
}

// The known name closest to `word` by edit distance, or "" when none is near: for "did you mean ...?".
template <class Names>
std::string nearest_name(std::string_view word, const Names& names);
int edit_distance(std::string_view a, std::string_view b);

template <class Names>
std::string nearest_name(std::string_view word, const Names& names) {
  std::string best;
  int best_distance = static_cast<int>(word.size()) / 2 + 2;
  for (const auto& name : names) {
    const int d = edit_distance(word, name);
    if (d < best_distance) best_distance = d, best = std::string(name);
  }
  return best;
}

}  // namespace tt
