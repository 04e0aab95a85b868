#pragma once
// Reading and writing a struct as a TOML table by its list of fields (models/config.h): the model's and the trainer's
// configs.

#include <toml++/toml.h>
#include <twotower/models/config.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

namespace tt {

namespace detail {

inline bool assign(const toml::node& node, int64_t& to) {
  const auto v = node.value_exact<int64_t>();
  if (v) to = *v;
  return v.has_value();
}
inline bool assign(const toml::node& node, double& to) {
  if (!node.is_number() || !std::isfinite(*node.value<double>())) return false;
  to = *node.value<double>();
  return true;
}
inline bool assign(const toml::node& node, bool& to) {
  const auto v = node.value_exact<bool>();
  if (v) to = *v;
  return v.has_value();
}
inline bool assign(const toml::node& node, std::string& to) {
  const auto v = node.value_exact<std::string>();
  if (v) to = *v;
  return v.has_value();
}
inline bool assign(const toml::node& node, std::vector<double>& to) {
  if (!node.is_array()) return false;
  std::vector<double> values;
  for (const toml::node& element : *node.as_array()) {
    if (!element.is_number() || !std::isfinite(*element.value<double>())) return false;
    values.push_back(*element.value<double>());
  }
  to = values;
  return true;
}

inline const char* type_name(int64_t) { return "a whole number"; }
inline const char* type_name(double) { return "a finite number"; }
inline const char* type_name(bool) { return "true or false"; }
inline const char* type_name(const std::string&) { return "a text in quotes"; }
inline const char* type_name(const std::vector<double>&) { return "a list of finite numbers such as [1.0, 0.5]"; }

inline std::string text(const toml::node& node) {
  std::ostringstream out;
  out << toml::node_view<const toml::node>(node);
  return out.str();
}

// The fewest digits that read back as the same number, with the point that makes it a float to TOML.
inline std::string shortest(double x) {
  char digits[40];
  std::string out(digits, std::to_chars(digits, digits + sizeof digits, x).ptr);
  return out.find_first_of(".e") == std::string::npos ? out + ".0" : out;
}

}  // namespace detail

template <class Config, class Fields>
void read_toml_fields(const toml::table& table, const std::string& where, const std::string& prefix,
                      const Fields& fields, Config& config) {
  for (const auto& [key, node] : table) {
    bool known = false;
    for (const auto& field : fields) {
      if (key.str() != field.key) continue;
      known = true;
      std::visit(
          [&, &value = node](auto member) {
            check(detail::assign(value, config.*member), where, "key \"", prefix, field.key, "\" is ",
                  detail::text(value), "; it must be ", detail::type_name(config.*member));
          },
          field.member);
    }
    if (known) continue;
    std::vector<std::string> names;
    for (const auto& field : fields) names.emplace_back(field.key);
    const std::string nearest = nearest_name(key.str(), names);
    fail(where, "unknown key \"", prefix, key.str(), "\"",
         nearest.empty() ? std::string("; see docs/config.md for the known ones")
                         : "; did you mean \"" + prefix + nearest + "\"?");
  }
}

template <class Config, class Fields>
std::string write_toml_fields(const Fields& fields, const Config& config) {
  std::ostringstream out;
  for (const auto& field : fields) {
    toml::table one;
    std::visit(
        [&](auto member) {
          if constexpr (std::is_same_v<std::decay_t<decltype(config.*member)>, std::vector<double>>) {
            toml::array values;
            for (const double v : config.*member) values.push_back(v);
            one.insert(field.key, values);
          } else if constexpr (std::is_same_v<std::decay_t<decltype(config.*member)>, double>) {
            out << field.key << " = " << detail::shortest(config.*member) << '\n';
          } else {
            one.insert(field.key, config.*member);
          }
        },
        field.member);
    if (!one.empty()) out << one << '\n';
  }
  return out.str();
}

// A number as people write it, as TOML wants it: with a digit on either side of its point.
inline std::string toml_number(std::string text) {
  const size_t begin = text.find_first_not_of("+-");
  if (text.find_first_of("0123456789") == std::string::npos) return text;
  if (text.find_first_not_of("0123456789.eE+-") != std::string::npos) return text;
  if (text[begin] == '.') text.insert(begin, "0");
  const size_t point = text.find('.');
  if (point != std::string::npos && (point + 1 == text.size() || text[point + 1] < '0' || text[point + 1] > '9'))
    text.insert(point + 1, "0");
  return text;
}

// `value` as TOML if it parses as such, else as a text: so that --set debias=position needs no quotes.
inline toml::table parse_assignment(const std::string& key, const std::string& value) {
  toml::table quoted;
  quoted.insert(key, value);
  if (value.find('\n') != std::string::npos) return quoted;
  try {
    return toml::parse("\"" + key + "\" = " + toml_number(value));
  } catch (const toml::parse_error&) {
    return quoted;
  }
}

// Parses a file, or throws Error with its line.
inline toml::table parse_toml_file(const std::string& path) {
  std::error_code ignored;  // a folder would read as an empty file
  check(!std::filesystem::is_directory(path, ignored), "config " + path, "is a folder; give a TOML file");
  try {
    return toml::parse_file(path);
  } catch (const toml::parse_error& e) {
    if (e.source().begin.line == 0) fail("config " + path, "cannot be read: ", e.description(), "; check the path");
    fail("config " + path + ":" + std::to_string(e.source().begin.line), e.description(),
         "; mend the line, as TOML wants it");
  }
}

}  // namespace tt
