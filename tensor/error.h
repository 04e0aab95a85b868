#pragma once
// One error type for every mistake a caller can make. Its text is one line: the op or file in brackets, what was
// expected and found, and how to mend it. Programs print it and exit with status 2; those that want to tell some
// mistakes apart have its kinds.

#include <twotower/tensor/one_line.h>

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

// A user, item, column or value that the model does not have.
class NotFound : public Error {
 public:
  using Error::Error;
};

// An item that is there already.
class AlreadyThere : public Error {
 public:
  using Error::Error;
};

// A file whose parts contradict each other.
class Damaged : public Error {
 public:
  using Error::Error;
};

// "[where] message" as one line, whatever bytes a file or an argument held.
std::string error_text(std::string_view where, const std::string& message);

// fail("matmul", "inner sizes differ: ", a, " x ", b) joins its parts with operator<< and throws; fail<NotFound>(...)
// throws that kind.
template <class Kind = Error, class... Parts>
[[noreturn]] void fail(std::string_view where, const Parts&... parts) {
  throw Kind(error_text(where, joined(parts...)));
}

// check(ok, where, parts...) fails unless ok; the message is built, and the length of `where` counted, only on failure.
template <class Kind = Error, class Where, class... Parts>
void check(bool ok, const Where& where, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail<Kind>(where, parts...);
}

}  // namespace tt
