#pragma once
// Text as people write it: trimming, splitting, numbers, and the name that was meant. For config keys, cells of tables
// and arguments alike; nothing here depends on the locale.

#include <string>
#include <string_view>
#include <vector>

namespace tt {

// Without the spaces, tabs and line ends around it. A view into `text`.
std::string_view trim(std::string_view text);

// What stands between separators, trimmed, without what is empty. Views into `text`.
std::vector<std::string_view> pieces(std::string_view text, char separator);

// The whole text, trimmed, as a finite number ("12", "+1.5", "-3e-4"), or false, and then `value` means nothing.
bool parse_number(std::string_view text, double& value);

// Insertions, deletions and substitutions of single bytes between the two (Levenshtein 1966).
int edit_distance(std::string_view a, std::string_view b);

// The known name closest to `word`, the first of those equally close, or "" when none is within half of the word's
// length and one more: for "did you mean ...?".
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
