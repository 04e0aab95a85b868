#pragma once
// Texts for people: of parts, and as one line.

#include <locale>
#include <sstream>
#include <string>
#include <string_view>

namespace tt {

// The text with control characters written out, a line break as \n: one line, whatever bytes a file or an argument
// held.
std::string one_line(std::string_view text);

// The parts by operator<<, one after the other; numbers as in C, whatever locale the host program has set.
template <class... Parts>
std::string joined(const Parts&... parts) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  (text << ... << parts);
  return text.str();
}

}  // namespace tt
