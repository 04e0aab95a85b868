#pragma once
// From the columns of a user or an item, as text under their names, to the numbers that a tower reads: with the
// constants, vocabularies and columns of the data that the model was trained on (docs/formats.md).

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tt {

// A feature in words: the name of its column in the raw data, and the value as it stands there.
struct NamedValue {
  std::string_view column, value;
};
// One whose column came before, or null. Takes no longer than the square of how many different columns there are.
const NamedValue* given_twice(std::span<const NamedValue> values);

class FeatureEncoder {
 public:
  FeatureEncoder() = default;
  // From a JSON object {"columns": [...], "sources": [...]}, as dataset.json and a bundle have it. Columns without
  // sources are taken as numbers that are encoded already. Error with `where` for anything else.
  FeatureEncoder(const std::string& json, const std::string& where);

  // One column of the raw data, and what became of it.
  struct Source {
    enum class Kind { numeric, categorical, multi };
    std::string name;
    Kind kind = Kind::numeric;
    int64_t first = 0, width = 0;  // its columns of the matrix; width 0: left out of it
    double mean = 0, stddev = 1;
    std::map<std::string, int64_t, std::less<>> codes;
  };
  const std::vector<Source>& sources() const { return sources_; }
  const Source* find(std::string_view name) const;  // null if there is none
  int64_t width() const { return width_; }
  bool constant() const { return constant_; }  // there are no features: every row is the same

  // A row in which every value is missing.
  void blank(float* row) const;
  // Writes the value into a row. An empty text is a missing value. Returns the part of the text that the
  // source cannot take (no number, a category that it does not know), which then counts as missing; "" if
  // there is none.
  std::string encode(const Source& source, std::string_view text, float* row) const;
  // A whole row; what is not named is missing. Returns how many values were not understood and count as missing. Error
  // with the nearest name for a column that is none of the sources; `side`: "user" or "item", for its text.
  int64_t encode(std::span<const NamedValue> values, const char* side, float* row) const;

  // The JSON object again, without the vocabularies of sources that were left out.
  const std::string& json() const { return json_; }

 private:
  std::string json_;
  std::vector<Source> sources_;
  int64_t width_ = 0;
  bool constant_ = false;
};

}  // namespace tt
