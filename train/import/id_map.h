#pragma once
// Raw ids of any text to rows, in order of first appearance.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tt {

class IdMap {
 public:
  int32_t row_of(std::string_view id) {  // a new row where the id is new
    const auto found = rows_.find(id);
    if (found != rows_.end()) return found->second;
    const auto row = static_cast<int32_t>(ids_.size());
    ids_.emplace_back(id);
    rows_.emplace(std::string(id), row);
    return row;
  }
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  const std::vector<std::string>& ids() const { return ids_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> rows_;
  std::vector<std::string> ids_;
};

}  // namespace tt
