#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/import/interactions.h>
#include <twotower/train/import/side_table.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <unordered_map>

namespace tt {

namespace {

constexpr size_t kFewNumbers = 12;         // numbers with so few different values are categories
constexpr double kStrayShare = 1.0 / 200;  // a column of numbers may hold this share of other texts ("unknown")

struct RawColumn {
  HeaderColumn header;
  std::vector<std::string> texts;  // by row of the file
};

bool is_numeric(const RawColumn& column) {
  if (column.header.type == "float") return true;
  std::set<double> distinct;
  bool decimal = false;
  size_t numbers = 0, strays = 0;
  for (const std::string& text : column.texts) {
    if (text.empty()) continue;
    double value;
    if (!parse_number(text, value)) {
      ++strays;
      continue;
    }
    ++numbers;
    decimal |= text.find('.') != std::string::npos;
    if (distinct.size() <= kFewNumbers) distinct.insert(value);
  }
  if (static_cast<double>(strays) > kStrayShare * static_cast<double>(numbers + strays)) return false;
  return decimal || distinct.size() > kFewNumbers;
}

class SideTable {
 public:
  SideTable(const std::string& path, const std::vector<int32_t>& rows, const std::vector<int64_t>& lines, size_t size,
            std::vector<std::string>& notes)
      : path_(path), rows_(rows), lines_(lines), size_(size), notes_(notes) {}

  void add(const RawColumn& raw, std::vector<FeatureColumn>& out) const {
    const bool bars = raw.header.type.empty() && has_bar(raw);
    if (raw.header.type == "float_seq")
      add_vector(raw, out);
    else if (raw.header.type == "token_seq" || bars)
      out.push_back(multi(raw, bars ? '|' : ' '));
    else if (is_numeric(raw))
      out.push_back(numeric(raw.header.name, raw, raw.texts));
    else
      out.push_back(categorical(raw));
  }

 private:
  static bool has_bar(const RawColumn& raw) {
    for (const std::string& text : raw.texts)
      if (text.find('|') != std::string::npos) return true;
    return false;
  }

  // Where the header promises numbers a stray text is an error, elsewhere it is a missing value.
  FeatureColumn numeric(const std::string& name, const RawColumn& raw, const std::vector<std::string>& texts) const {
    FeatureColumn column;
    column.name = name;
    column.numbers.assign(size_, std::numeric_limits<double>::quiet_NaN());
    const bool strict = !raw.header.type.empty() && raw.header.type != "token";
    int64_t strays = 0;
    std::string first;
    for (size_t r = 0; r < texts.size(); ++r) {
      if (texts[r].empty()) continue;
      double& value = column.numbers[static_cast<size_t>(rows_[r])];
      if (strict)
        value = read_number(path_, lines_[r], raw.header.name, texts[r]);
      else if (!parse_number(texts[r], value)) {
        value = std::numeric_limits<double>::quiet_NaN();
        if (++strays == 1) first = "\"" + texts[r] + "\" on line " + std::to_string(lines_[r]);
      }
    }
    if (strays)
      notes_.push_back(path_ + ": column \"" + name + "\" is numeric; " + std::to_string(strays) +
                       " values that are no numbers count as missing, the first " + first);
    return column;
  }

  void add_vector(const RawColumn& raw, std::vector<FeatureColumn>& out) const {
    std::vector<std::vector<std::string>> parts;  // [entry][row]
    for (size_t r = 0; r < raw.texts.size(); ++r) {
      const std::vector<std::string_view> entries = pieces(raw.texts[r], ' ');
      if (entries.empty()) continue;
      if (parts.empty()) parts.assign(entries.size(), std::vector<std::string>(raw.texts.size()));
      check(entries.size() == parts.size(), at_line(path_, lines_[r]), "column \"", raw.header.name, "\" has ",
            entries.size(), " numbers, the rows before it ", parts.size(), "; give every row as many");
      for (size_t k = 0; k < entries.size(); ++k) parts[k][r] = std::string(entries[k]);
    }
    for (size_t k = 0; k < parts.size(); ++k)
      out.push_back(numeric(raw.header.name + "[" + std::to_string(k) + "]", raw, parts[k]));
  }

  // Codes in the order of the sorted texts, so that they do not depend on the order of the lines.
  static std::map<std::string, int32_t> vocabulary(const std::vector<std::vector<std::string>>& texts,
                                                   FeatureColumn& column) {
    std::map<std::string, int32_t> codes;
    for (const auto& row : texts)
      for (const std::string& text : row) codes.emplace(text, 0);
    for (auto& [text, code] : codes) {
      code = static_cast<int32_t>(column.vocabulary.size());
      column.vocabulary.push_back(text);
    }
    return codes;
  }

  FeatureColumn categorical(const RawColumn& raw) const {
    FeatureColumn column;
    column.name = raw.header.name;
    column.kind = FeatureColumn::Kind::categorical;
    std::vector<std::vector<std::string>> texts(raw.texts.size());
    for (size_t r = 0; r < texts.size(); ++r)
      if (!raw.texts[r].empty()) texts[r] = {raw.texts[r]};
    const auto codes = vocabulary(texts, column);
    column.codes.assign(size_, -1);
    for (size_t r = 0; r < texts.size(); ++r)
      if (!texts[r].empty()) column.codes[static_cast<size_t>(rows_[r])] = codes.at(texts[r][0]);
    return column;
  }

  FeatureColumn multi(const RawColumn& raw, char separator) const {
    FeatureColumn column;
    column.name = raw.header.name;
    column.kind = FeatureColumn::Kind::multi;
    std::vector<std::vector<std::string>> texts(size_);
    for (size_t r = 0; r < raw.texts.size(); ++r)
      for (const std::string_view piece : pieces(raw.texts[r], separator))
        texts[static_cast<size_t>(rows_[r])].emplace_back(piece);
    const auto codes = vocabulary(texts, column);
    column.offsets.push_back(0);
    for (const auto& row : texts) {
      for (const std::string& text : row) column.values.push_back(codes.at(text));
      column.offsets.push_back(static_cast<int64_t>(column.values.size()));
    }
    return column;
  }

  const std::string& path_;
  const std::vector<int32_t>& rows_;   // file row -> id row
  const std::vector<int64_t>& lines_;  // file row -> line
  size_t size_;                        // id rows
  std::vector<std::string>& notes_;
};

}  // namespace

std::vector<FeatureColumn> read_side_table(const std::string& path, const Dialect& dialect, const std::string& role,
                                           const std::string& id_column, IdMap& ids, std::vector<std::string>& notes) {
  const int64_t before = ids.size();
  std::vector<RawColumn> raw;
  std::vector<int32_t> rows;
  std::vector<int64_t> lines;
  std::unordered_map<int32_t, int64_t> first_line;
  size_t id = 0;
  read_table(
      path, dialect,
      [&](const std::vector<HeaderColumn>& header) {
        id = static_cast<size_t>(find_column(path, header, role, id_column, true));
        for (const HeaderColumn& column : header) raw.push_back({column, {}});
      },
      [&](int64_t line, const std::vector<std::string_view>& fields) {
        const std::string_view text = trim(fields[id]);
        check(!text.empty(), at_line(path, line), "column \"", raw[id].header.name,
              "\" is empty; every line needs an id");
        const int32_t row = ids.row_of(text);
        const auto [known, fresh] = first_line.emplace(row, line);
        check(fresh, at_line(path, line), "column \"", raw[id].header.name, "\": \"", text,
              "\" is there again, first on line ", known->second, "; keep one line each");
        rows.push_back(row);
        lines.push_back(line);
        for (size_t c = 0; c < raw.size(); ++c)
          if (c != id) raw[c].texts.emplace_back(trim(fields[c]));
      });
  const int64_t cold = ids.size() - before, bare = ids.size() - static_cast<int64_t>(rows.size());
  if (cold) notes.push_back(path + ": " + std::to_string(cold) + " " + role + "s without any interaction are kept");
  if (bare)
    notes.push_back(path + ": " + std::to_string(bare) + " " + role + "s have no line; their features are missing");
  const SideTable table(path, rows, lines, static_cast<size_t>(ids.size()), notes);
  std::vector<FeatureColumn> columns;
  for (size_t c = 0; c < raw.size(); ++c)
    if (c != id) table.add(raw[c], columns);
  return columns;
}

}  // namespace tt
