#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/import/label.h>

namespace tt {

bool LabelRule::holds(double value) const {
  if (op == ">=") return value >= threshold;
  if (op == ">") return value > threshold;
  if (op == "<=") return value <= threshold;
  if (op == "<") return value < threshold;
  return (value == threshold) == (op == "==");
}

bool LabelRule::holds(std::string_view text) const { return (trim(text) == operand) == (op == "=="); }

LabelRule parse_label(const std::string& text) {
  const std::string where = "label " + text;
  constexpr const char* form = "; write TASK=COLUMN>=NUMBER, as in like=rating>=4";
  LabelRule rule;
  const std::size_t equals = text.find('=');
  check(equals != std::string::npos && equals > 0, where, "does not name a task", form);
  rule.task = trim(std::string_view(text).substr(0, equals));
  check(rule.task.find_first_of("<>!") == std::string::npos, where, "does not name a task", form);
  const std::string condition = text.substr(equals + 1);
  const std::size_t begin = condition.find_first_of("<>=!");
  rule.column = trim(std::string_view(condition).substr(0, begin));
  check(!rule.column.empty(), where, "does not name a column", form);
  if (begin == std::string::npos) return rule;
  std::size_t end = begin + 1;
  if (end < condition.size() && condition[end] == '=') ++end;
  rule.op = condition.substr(begin, end - begin);
  check(rule.op != "=" && rule.op != "!", where, "has the operator \"", rule.op, "\"; choose one of >= > <= < == !=");
  rule.operand = trim(std::string_view(condition).substr(end));
  check(!rule.operand.empty(), where, "compares with nothing", form);
  rule.textual = !parse_number(rule.operand, rule.threshold);
  check(!rule.textual || rule.op == "==" || rule.op == "!=", where, "\"", rule.operand,
        "\" is not a number; texts compare with == and != only");
  return rule;
}

std::vector<LabelRule> parse_labels(const std::vector<std::string>& texts) {
  std::vector<LabelRule> rules;
  for (const std::string& text : texts) {
    rules.push_back(parse_label(text));
    for (std::size_t i = 0; i + 1 < rules.size(); ++i)
      check(rules[i].task != rules.back().task, "label " + text, "names the task \"", rules.back().task,
            "\" again; give each label a name of its own");
  }
  return rules;
}

}  // namespace tt
