#include <twotower/models/bundle/feature_encoder.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace tt {
namespace {

FeatureEncoder::Source read_source(const nlohmann::json& entry, int64_t width, const std::string& where) {
  using Kind = FeatureEncoder::Source::Kind;
  FeatureEncoder::Source source;
  source.name = entry.at("name").get<std::string>();
  const auto kind = entry.at("kind").get<std::string>();
  source.kind = kind == "numeric" ? Kind::numeric : kind == "multi" ? Kind::multi : Kind::categorical;
  source.first = entry.at("first").get<int64_t>(), source.width = entry.at("width").get<int64_t>();
  if (source.width == 0) return source;
  if (source.kind == Kind::numeric) {
    source.mean = entry.at("mean").get<double>(), source.stddev = entry.at("stddev").get<double>();
  } else {
    for (const auto& text : entry.at("vocabulary"))
      source.codes.emplace(text.get<std::string>(), static_cast<int64_t>(source.codes.size()));
  }
  const int64_t needed = source.kind == Kind::numeric ? 1 : static_cast<int64_t>(source.codes.size());
  check(source.first >= 0 && source.width == needed && source.first + needed <= width, where, "the source \"",
        source.name, "\" does not fit the feature columns; make it again");
  return source;
}

}  // namespace

const NamedValue* given_twice(std::span<const NamedValue> values) {
  for (size_t i = 1; i < values.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (values[j].column == values[i].column) return &values[i];
  return nullptr;
}

FeatureEncoder::FeatureEncoder(const std::string& json, const std::string& where) {
  try {
    nlohmann::json side = nlohmann::json::parse(json);
    const auto columns = side.at("columns").get<std::vector<std::string>>();
    width_ = static_cast<int64_t>(columns.size());
    constant_ = columns == std::vector<std::string>{"constant"};
    if (side.contains("sources"))
      for (auto& entry : side.at("sources")) {
        sources_.push_back(read_source(entry, width_, where));
        if (sources_.back().width == 0) entry.erase("vocabulary");
      }
    if (!constant_ && sources_.empty())
      for (int64_t c = 0; c < width_; ++c) {
        Source& source = sources_.emplace_back();
        source.name = columns[static_cast<size_t>(c)];
        source.first = c, source.width = 1;
      }
    json_ = side.dump();
  } catch (const nlohmann::json::exception& error) {
    fail(where, "the sources of the features cannot be read (", error.what(), "); make it again");
  }
}

const FeatureEncoder::Source* FeatureEncoder::find(std::string_view name) const {
  for (const Source& source : sources_)
    if (source.name == name) return &source;
  return nullptr;
}

void FeatureEncoder::blank(float* row) const { std::fill_n(row, width_, constant_ ? 1.0f : 0.0f); }

std::string FeatureEncoder::encode(const Source& source, std::string_view text, float* row) const {
  text = trim(text);
  if (text.empty() || source.width == 0) return "";
  float* out = row + source.first;
  if (source.kind == Source::Kind::numeric) {
    double value;
    if (!parse_number(text, value)) return std::string(text);
    const double deviations = (value - source.mean) / source.stddev;
    if (!(std::abs(deviations) < 1e9)) return std::string(text);  // no score would survive it
    *out = static_cast<float>(deviations);
    return "";
  }
  if (const auto whole = source.codes.find(text); whole != source.codes.end()) {
    out[whole->second] = 1;
    return "";
  }
  if (source.kind == Source::Kind::categorical) return std::string(text);
  // A set is separated by | in csv and by spaces in RecBole's files.
  const char separator = text.find('|') != std::string_view::npos ? '|' : ' ';
  std::string unknown;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    const std::string_view piece = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (piece.empty()) continue;
    if (const auto found = source.codes.find(piece); found != source.codes.end())
      out[found->second] = 1;
    else
      unknown.append(unknown.empty() ? "" : " ").append(piece);
  }
  return unknown;
}

int64_t FeatureEncoder::encode(std::span<const NamedValue> values, const char* side, float* row) const {
  blank(row);
  int64_t unknown = 0;
  for (const auto& [column, value] : values) {
    const Source* source = find(column);
    if (!source) {
      std::vector<std::string> names;
      for (const Source& known : sources_) names.push_back(known.name);
      const std::string nearest = nearest_name(column, names);
      fail<NotFound>("recommend", "\"", column, "\" is no ", side, " feature of the model",
                     nearest.empty() ? "; leave it out" : "; did you mean \"" + nearest + "\"?");
    }
    unknown += !encode(*source, value, row).empty();
  }
  return unknown;
}

}  // namespace tt
