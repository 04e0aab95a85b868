#include <twotower/models/bundle/fingerprint.h>
#include <twotower/models/bundle/id_table.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/export/vector_file.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace tt {
namespace {

constexpr size_t kMostIdBytes = 512;  // of an OpenSearch document

// Text in pieces of a size that a disk likes.
class TextFile {
 public:
  explicit TextFile(const std::string& path) : file_(path) {}
  std::string& text() {
    if (text_.size() >= kPiece) flush();
    return text_;
  }
  void commit() { flush(), file_.commit(); }

 private:
  static constexpr size_t kPiece = 1 << 20;
  void flush() { file_.write(text_.data(), text_.size()), text_.clear(); }
  AtomicFile file_;
  std::string text_;
};

// "[1,-0.25]", each number the shortest text that reads back as the same float.
void append_vector(std::string& to, const float* row, int64_t width) {
  to += '[';
  for (int64_t j = 0; j < width; ++j) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, row[j]).ptr;
    if (j > 0) to += ',';
    to.append(digits, end);
  }
  to += ']';
}

bool is_utf8(std::string_view text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

// In quotes, a long one only its beginning.
std::string shown(std::string_view id) {
  constexpr size_t kMost = 60;
  const std::string text =
      nlohmann::json(id.substr(0, kMost)).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return id.size() > kMost ? text + "..." : text;
}

// Everything that could stop the writing, before a file is opened.
void check_vectors(const std::string& path, const std::string& format, const NamedVectors& of) {
  const std::string where = "export " + path;
  const int64_t n = of.vectors.rows(), d = of.vectors.cols();
  check(static_cast<int64_t>(of.ids.size()) == n, where, "there are ", n, " vectors and ", of.ids.size(), " ids");
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  check(format != "fbin" || (n <= kMost && d <= kMost), where, "fbin counts to ", kMost, ", there are ", n,
        " vectors; use npy");
  const bool lines = has_id_file(format), json = format == "jsonl" || format == "opensearch";
  const bool text = json || format == "csv";
  for (int64_t i = 0; i < n; ++i) {
    const std::string_view id = of.ids[static_cast<size_t>(i)];
    check(!lines || id.find_first_of("\r\n") == id.npos, where, "the id ", shown(id),
          " has a line break, which would shift the lines of the id file; use safetensors, jsonl or csv");
    check(!text || is_utf8(id), where, "the id ", shown(id), " is no UTF-8; use safetensors");
    check(format != "csv" || id.find('\0') == id.npos, where, "the id ", shown(id),
          " holds a zero byte, which PostgreSQL has not; use safetensors");
    check(format != "opensearch" || (!id.empty() && id.size() <= kMostIdBytes), where, "the id ", shown(id), " has ",
          id.size(), " bytes, OpenSearch takes 1 to ", kMostIdBytes, "; use jsonl");
    for (int64_t j = 0; text && j < d; ++j)
      check(std::isfinite(of.vectors.row(i)[j]), where, "the vector of ", shown(id),
            " holds a number that is not finite, for which ", format,
            " has no text; look for what went wrong in "
            "training");
  }
}

void write_npy(AtomicFile& file, Tensor<const float> values) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(values.rows()) + ", " +
                       std::to_string(values.cols()) + "), }";
  const size_t prefix = 10;                                // magic, version, length
  header.append(63 - (prefix + header.size()) % 64, ' ');  // so that the data starts at a multiple of 64
  header += '\n';
  std::string start = "\x93NUMPY";
  start += {1, 0, static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  file.write(start.data(), start.size());
  file.write(header.data(), header.size());
  file.write(values.data(), static_cast<size_t>(values.numel()) * sizeof(float));
}

void write_fbin(AtomicFile& file, Tensor<const float> values) {
  const int32_t head[] = {static_cast<int32_t>(values.rows()), static_cast<int32_t>(values.cols())};
  file.write(head, sizeof head);
  file.write(values.data(), static_cast<size_t>(values.numel()) * sizeof(float));
}

void write_with_id_file(const std::string& path, const std::string& format, const NamedVectors& of) {
  std::string lines;
  for (const std::string_view id : of.ids) lines.append(id) += '\n';
  AtomicFile file(path), ids(path + ".ids.txt");
  ids.write(lines.data(), lines.size());
  format == "npy" ? write_npy(file, of.vectors) : write_fbin(file, of.vectors);
  commit_together(file, ids);
}

void write_safetensors(const std::string& path, const NamedVectors& of) {
  const OwnedIds owned(of.ids);
  const IdTable table = owned.table();
  SafetensorsWriter writer;
  writer.add(of.name, of.vectors.data(), {of.vectors.rows(), of.vectors.cols()});
  writer.add("id_offsets", table.offsets(), {table.size() + 1});
  writer.add("id_bytes", table.bytes(), {table.byte_count()});
  for (const auto& [key, value] : of.origins) writer.metadata(key, value);
  writer.write(path);
}

void write_text(const std::string& path, const std::string& format, const NamedVectors& of) {
  TextFile file(path);
  const int64_t d = of.vectors.cols();
  if (format == "csv") file.text() += of.id_name + ",embedding\n";
  for (size_t i = 0; i < of.ids.size(); ++i) {
    const float* row = of.vectors.row(static_cast<int64_t>(i));
    const std::string_view more = of.payload.empty() ? std::string_view() : std::string_view(of.payload[i]);
    std::string& to = file.text();
    if (format == "csv") {
      to += '"';
      for (const char c : of.ids[i]) to.append(c == '"' ? 2 : 1, c);
      to += "\",\"";
      append_vector(to, row, d);
      to += "\"\n";
      continue;
    }
    const std::string id = nlohmann::json(of.ids[i]).dump();
    if (format == "jsonl") {
      to += "{\"id\":" + point_id(of.ids[i]) + ",\"vector\":";
      append_vector(to, row, d);
      ((to += ",\"payload\":{\"" + of.id_name + "\":" + id) += more) += "}}\n";
    } else {
      to += "{\"index\":{\"_id\":" + id + "}}\n{\"" + of.id_name + "\":" + id + ",\"embedding\":";
      append_vector(to, row, d);
      (to += more) += "}\n";
    }
  }
  file.commit();
}

}  // namespace

const std::vector<std::string>& vector_formats() {
  static const std::vector<std::string> formats = {"npy", "safetensors", "fbin", "jsonl", "opensearch", "csv"};
  return formats;
}

bool has_id_file(const std::string& format) { return format == "npy" || format == "fbin"; }

std::string vector_format_of(const std::string& path) {
  for (const std::string& format : vector_formats())
    if (format != "opensearch" && path.ends_with("." + format)) return format;
  fail("export", "--out ", path,
       ": the name must end in .npy, .safetensors, .fbin, .jsonl or .csv, or --format say what to write");
}

std::string point_id(std::string_view id) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
  const bool canonical = !id.empty() && (id[0] != '0' || id.size() == 1);
  if (canonical && error == std::errc() && end == id.data() + id.size()) return std::string(id);
  Fingerprint print;
  print.add(id.data(), id.size());
  std::string digits = print.text();
  digits[12] = '8';  // a UUID of our own making (RFC 9562, version 8)
  digits[16] = "89ab"[std::stoi(digits.substr(16, 1), nullptr, 16) % 4];  // its variant
  for (const size_t dash : {20, 16, 12, 8}) digits.insert(dash, "-");
  return "\"" + digits + "\"";
}

void write_vectors(const std::string& path, const std::string& format, const NamedVectors& of) {
  check_vectors(path, format, of);
  if (has_id_file(format))
    write_with_id_file(path, format, of);
  else if (format == "safetensors")
    write_safetensors(path, of);
  else
    write_text(path, format, of);
}

}  // namespace tt
