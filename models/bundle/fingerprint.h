#pragma once
// What tells one set of numbers from another: 128 bits of XXH3 (Collet), fast enough to read a file at the speed of
// memory. It protects against mistakes, not against an adversary.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace tt {

class Fingerprint {
 public:
  Fingerprint();
  ~Fingerprint();
  Fingerprint(const Fingerprint&) = delete;
  Fingerprint& operator=(const Fingerprint&) = delete;

  void add(const void* data, std::size_t bytes);
  template <class T>
  void add_values(const T* values, int64_t n) {
    add(values, static_cast<std::size_t>(n) * sizeof(T));
  }
  void add_number(int64_t x) { add(&x, sizeof x); }
  void add_text(std::string_view text);  // with its length, so that "ab" "c" is not "a" "bc"

  std::string text() const;  // 32 hexadecimal digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tt
