#pragma once
// Encodes users or items that a dataset does not have in the way its own were: with the constants,
// vocabularies and columns that its dataset.json keeps (docs/formats.md).

#include <twotower/train/data/dataset.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tt {

class FeatureEncoder {
 public:
  // Of the dataset's users or of its items. A dataset whose columns have no sources takes each column as a
  // number that is encoded already.
  FeatureEncoder(const Dataset& data, bool users);

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
  int64_t width() const { return width_; }
  bool constant() const { return constant_; }  // there are no features: every row is the same

  // A row in which every value is missing.
  std::vector<float> blank() const;
  // Writes the value into a row. An empty text is a missing value. Returns the part of the text that the
  // source cannot take (no number, a category that it does not know), which then counts as missing; "" if
  // there is none.
  std::string encode(const Source& source, std::string_view text, float* row) const;

 private:
  std::vector<Source> sources_;
  int64_t width_ = 0;
  bool constant_ = false;
};

}  // namespace tt
