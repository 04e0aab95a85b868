#pragma once
// Delimited text, a row at a time, with the line each row starts on. Handles CRLF, a byte order mark, blank
// lines, a missing last newline, and quoted fields that span lines.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tt {

struct Dialect {
  char delimiter = ',';
  bool quotes = true;         // "a, b" is one field
  bool typed_header = false;  // RecBole: name:type
};

// Called for each row that is not blank, the header included. Views live until the call returns.
using RowFunction = std::function<void(int64_t line, const std::vector<std::string_view>& fields)>;

// Error "[import FILE] ..." when it cannot be read or is empty, "[import FILE:LINE] ..." for bad quoting.
void read_delimited(const std::string& path, const Dialect& dialect, const RowFunction& on_row);

// A header and then rows of as many fields.
struct HeaderColumn {
  std::string name;
  std::string type;  // token, token_seq, float, float_seq; "" where the dialect has none
};
void read_table(const std::string& path, const Dialect& dialect,
                const std::function<void(const std::vector<HeaderColumn>&)>& on_header, const RowFunction& on_row);

// For messages: "import FILE:LINE".
std::string at_line(const std::string& path, int64_t line);
// Error if the line holds a control character, as a binary file's do.
void check_text(const std::string& path, int64_t line, std::string_view text);
std::string column_list(const std::vector<HeaderColumn>& header);

// The text as a finite number; Error with file, line, column and text when it is not one.
double read_number(const std::string& path, int64_t line, const std::string& column, std::string_view text);
// The same for what must lie in [0, 1]; `mend` ends the message of a number that does not.
float read_unit(const std::string& path, int64_t line, const std::string& column, std::string_view text,
                const char* mend);

// The other way: a text as a field of comma-separated text, quoted where it must be.
std::string csv_field(std::string_view text);

}  // namespace tt
