#pragma once
// A table for people: columns as wide as their widest cell, the first to the left, the others, numbers, to the right.

#include <iosfwd>
#include <string>
#include <vector>

namespace tt {

struct TextTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  bool last_is_text = false;  // the last column to the left, too
  void print(std::ostream& out) const;
};

std::string decimals(double x, int digits = 4);  // fixed point; "-" for NaN

}  // namespace tt
