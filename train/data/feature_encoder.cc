#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/data/feature_encoder.h>

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
  if (source.kind == Kind::numeric) {
    source.mean = entry.at("mean").get<double>(), source.stddev = entry.at("stddev").get<double>();
  } else {
    for (const auto& text : entry.at("vocabulary"))
      source.codes.emplace(text.get<std::string>(), static_cast<int64_t>(source.codes.size()));
  }
  const int64_t needed = source.kind == Kind::numeric ? 1 : static_cast<int64_t>(source.codes.size());
  check(source.width == 0 || (source.first >= 0 && source.width == needed && source.first + needed <= width), where,
        "the source \"", source.name, "\" does not fit the feature columns; make the dataset again");
  return source;
}

}  // namespace

FeatureEncoder::FeatureEncoder(const Dataset& data, bool users) {
  const std::vector<std::string>& columns = users ? data.user_columns() : data.item_columns();
  width_ = static_cast<int64_t>(columns.size());
  constant_ = columns == std::vector<std::string>{"constant"};
  const std::string where = "dataset " + data.dir() + "/dataset.json";
  try {
    const auto& side = data.info().at(users ? "user_features" : "item_features");
    if (side.contains("sources"))
      for (const auto& entry : side.at("sources")) sources_.push_back(read_source(entry, width_, where));
  } catch (const nlohmann::json::exception& error) {
    fail(where, "the sources of the features cannot be read (", error.what(), "); make the dataset again");
  }
  if (constant_ || !sources_.empty()) return;
  for (int64_t c = 0; c < width_; ++c) {
    Source& source = sources_.emplace_back();
    source.name = columns[static_cast<size_t>(c)];
    source.first = c, source.width = 1;
  }
}

std::vector<float> FeatureEncoder::blank() const {
  return std::vector<float>(static_cast<size_t>(width_), constant_ ? 1.0f : 0.0f);
}

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
  for (const std::string_view piece : pieces(text, separator)) {
    if (const auto found = source.codes.find(piece); found != source.codes.end())
      out[found->second] = 1;
    else
      unknown.append(unknown.empty() ? "" : " ").append(piece);
  }
  return unknown;
}

}  // namespace tt
