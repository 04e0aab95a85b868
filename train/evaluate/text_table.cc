#include <twotower/train/evaluate/text_table.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>

namespace tt {
namespace {

// Code points, near enough to columns on a terminal.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

void TextTable::print(std::ostream& out) const {
  std::vector<size_t> widths;
  const auto measure = [&](const std::vector<std::string>& row) {
    if (widths.size() < row.size()) widths.resize(row.size(), 0);
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  };
  const auto line = [&](const std::vector<std::string>& row) {
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - width_of(row[c]), ' ');
      const bool last = c + 1 == row.size();
      if (c == 0)
        out << row[c] << (last ? "" : pad);
      else if (last_is_text && c + 1 == widths.size())
        out << "  " << row[c];
      else
        out << "  " << pad << row[c];
    }
    out << '\n';
  };
  measure(header);
  for (const auto& row : rows) measure(row);
  if (!header.empty()) line(header);
  for (const auto& row : rows) line(row);
}

std::string decimals(double x, int digits) {
  if (std::isnan(x)) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, x);
  return text;
}

}  // namespace tt
