#pragma once
// The original ids of users or items, and the texts of categories: row -> text without a copy, text -> row by binary
// search. A view; the memory must outlive it. Nothing of it is trusted: a damaged table is an Error, never a bad read.

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace tt {

class IdTable {
 public:
  IdTable() = default;
  // Row r's text is bytes offsets[r] .. offsets[r + 1] of `bytes`; there are `size` bytes. order: the rows in ascending
  // order of their texts, byte by byte; null: they are sorted at the first find() (thread-safe).
  IdTable(const int64_t* offsets, const uint8_t* bytes, int64_t rows, int64_t size, const int32_t* order = nullptr);

  int64_t size() const { return rows_; }
  std::string_view text(int64_t row) const;
  std::optional<int64_t> find(std::string_view text) const;

  const int64_t* offsets() const { return offsets_; }  // [size() + 1]
  const uint8_t* bytes() const { return bytes_; }
  int64_t byte_count() const { return byte_count_; }
  const int32_t* order() const;  // [size()]

 private:
  struct Sorted;
  const int64_t* offsets_ = nullptr;
  const uint8_t* bytes_ = nullptr;
  int64_t rows_ = 0, byte_count_ = 0;
  const int32_t* order_ = nullptr;
  std::shared_ptr<Sorted> sorted_;  // of a table that came without an order
};

// A table that owns its texts: for making one.
class OwnedIds {
 public:
  OwnedIds() = default;
  explicit OwnedIds(const std::vector<std::string_view>& texts);
  IdTable table() const;

 private:
  std::vector<int64_t> offsets_{0};
  std::vector<uint8_t> bytes_;
};

}  // namespace tt
