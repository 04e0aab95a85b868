#include <csv.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/data/delimited.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace tt {

namespace {

// libcsv calls back for each field and each row. Rows are handed on only after it has returned: an Error must
// not fly through its C frames.
struct RowCollector {
  std::string text;                   // the fields of the rows not yet handed on, one after another
  std::vector<std::size_t> ends;      // where each field ends in `text`
  std::vector<std::size_t> row_ends;  // where each row ends in `ends`
  int64_t line = 0;                   // on which the row started

  static void field(void* data, std::size_t size, void* self) {
    auto& c = *static_cast<RowCollector*>(self);
    if (size) c.text.append(static_cast<const char*>(data), size);
    c.ends.push_back(c.text.size());
  }
  static void row(int, void* self) {
    auto& c = *static_cast<RowCollector*>(self);
    c.row_ends.push_back(c.ends.size());
  }

  // True when rows were complete, so that the next line starts a new one.
  bool hand_on(const RowFunction& on_row) {
    if (row_ends.empty()) return false;
    std::vector<std::string_view> fields;
    std::size_t begin = 0, field = 0;
    for (const std::size_t row_end : row_ends) {
      fields.clear();
      for (; field < row_end; begin = ends[field++])
        fields.push_back(std::string_view(text).substr(begin, ends[field] - begin));
      on_row(line, fields);
    }
    text.clear(), ends.clear(), row_ends.clear();
    return true;
  }
};

struct Parser {
  csv_parser state;
  explicit Parser(const Dialect& dialect) {
    const auto options = static_cast<unsigned char>(dialect.quotes ? CSV_STRICT | CSV_STRICT_FINI : 0);
    if (csv_init(&state, options) != 0) fail("import", "not enough memory for the parser");
    csv_set_delim(&state, static_cast<unsigned char>(dialect.delimiter));
    if (!dialect.quotes) csv_set_quote(&state, 0);
  }
  ~Parser() { csv_free(&state); }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;
};

}  // namespace

std::string at_line(const std::string& path, int64_t line) { return "import " + path + ":" + std::to_string(line); }

void check_text(const std::string& path, int64_t line, std::string_view text) {
  for (const char c : text)
    check(static_cast<unsigned char>(c) >= 0x20 || c == '\t' || c == '\r' || c == '\f', at_line(path, line),
          "holds the control character ", static_cast<int>(c), ", so the file is no text; check the path");
}

void read_delimited(const std::string& path, const Dialect& dialect, const RowFunction& on_row) {
  std::error_code ignored;
  check(!std::filesystem::is_directory(path, ignored), "import " + path, "is a folder; give a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("import " + path, "cannot be opened: ", std::strerror(errno), "; check the path");
  RowCollector collector;
  Parser parser(dialect);
  std::string line;
  int64_t number = 0;
  bool any = false, open = false;  // open: inside a row, a quoted field goes on
  // A line at a time, so that a row knows its line; libcsv keeps its state between the calls.
  while (std::getline(in, line)) {
    if (++number == 1 && line.rfind("\xef\xbb\xbf", 0) == 0) line.erase(0, 3);
    const bool blank = line.find_first_not_of(" \t\r") == std::string::npos;
    if (blank && !open) continue;
    any = true;
    check_text(path, number, line);
    if (!open) collector.line = number;
    line += '\n';
    const std::size_t used =
        csv_parse(&parser.state, line.data(), line.size(), RowCollector::field, RowCollector::row, &collector);
    check(used == line.size(), at_line(path, number),
          "has a quote in the wrong place; double a quote inside a quoted field, and quote the whole field");
    open = !collector.hand_on(on_row);
  }
  check(in.eof(), "import " + path, "cannot be read to its end; check the disk");
  check(csv_fini(&parser.state, RowCollector::field, RowCollector::row, &collector) == 0, at_line(path, collector.line),
        "opens a quote that is never closed; close it");
  collector.hand_on(on_row);
  check(any, "import " + path, "is empty; expected a header line");
}

void read_table(const std::string& path, const Dialect& dialect,
                const std::function<void(const std::vector<HeaderColumn>&)>& on_header, const RowFunction& on_row) {
  std::vector<HeaderColumn> header;
  read_delimited(path, dialect, [&](int64_t line, const std::vector<std::string_view>& fields) {
    if (!header.empty()) {
      check(fields.size() == header.size(), at_line(path, line), "has ", fields.size(), " fields, the header has ",
            header.size(), "; mend the line");
      on_row(line, fields);
      return;
    }
    for (const std::string_view text : fields) {
      HeaderColumn column{std::string(trim(text)), ""};
      if (dialect.typed_header) {
        const std::size_t colon = column.name.rfind(':');
        if (colon != std::string::npos) column.type = column.name.substr(colon + 1), column.name.resize(colon);
        check(column.type == "token" || column.type == "token_seq" || column.type == "float" ||
                  column.type == "float_seq",
              at_line(path, line), "column \"", text,
              "\" has no type in the header; a RecBole header names each column NAME:TYPE, TYPE being token, "
              "token_seq, float or float_seq");
      }
      check(!column.name.empty(), at_line(path, line), "column ", header.size() + 1,
            " has no name; the first line must be a header");
      for (const HeaderColumn& other : header)
        check(other.name != column.name, at_line(path, line), "column \"", column.name,
              "\" is there twice; rename one");
      header.push_back(std::move(column));
    }
    on_header(header);
  });
}

std::string column_list(const std::vector<HeaderColumn>& header) {
  std::string text;
  for (const HeaderColumn& column : header) text += (text.empty() ? "" : ", ") + column.name;
  return text;
}

double read_number(const std::string& path, int64_t line, const std::string& column, std::string_view text) {
  double value = 0;
  if (parse_number(text, value)) return value;
  if (trim(text).empty())
    fail(at_line(path, line), "column \"", column, "\" is empty; give a number or remove the line");
  fail(at_line(path, line), "column \"", column, "\": \"", text,
       "\" is not a number; give a finite number or remove the line");
}

float read_unit(const std::string& path, int64_t line, const std::string& column, std::string_view text,
                const char* mend) {
  const double value = read_number(path, line, column, text);
  check(value >= 0 && value <= 1, at_line(path, line), "column \"", column, "\": ", text, " is outside [0, 1]; ", mend);
  return static_cast<float>(value);
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

}  // namespace tt
