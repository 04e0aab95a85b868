#pragma once
// What counts as a label: `like=rating>=4` makes task "like" 1 where the column holds. Without a condition
// (`click=clicked`) the column itself is the label and must lie in [0, 1]. == and != also compare texts
// (`buy=event==purchase`).

#include <string>
#include <string_view>
#include <vector>

namespace tt {

struct LabelRule {
  std::string task, column;
  std::string op;        // >= > <= < == != or "" for the column itself
  std::string operand;   // as written
  double threshold = 0;  // operand as a number
  bool textual = false;  // operand is no number: compare texts

  bool holds(double value) const;           // op with a numeric threshold
  bool holds(std::string_view text) const;  // textual == and !=
};

// Error "[label TEXT] ..." for anything that is not of these forms, or a task named twice.
LabelRule parse_label(const std::string& text);
std::vector<LabelRule> parse_labels(const std::vector<std::string>& texts);

}  // namespace tt
