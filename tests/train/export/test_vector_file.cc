// Exported vectors, read back by the rules of each format.

#include <doctest/doctest.h>
#include <twotower/models/bundle/id_table.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/export/vector_file.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/train/fixtures.h"

using namespace tt;
namespace fs = std::filesystem;

namespace {

// Three vectors of width 2, numbers that no short decimal holds among them.
struct Three {
  std::vector<float> values = {1, -0.1f, 1.0f / 3, 1e-30f, 16777217.0f, -3.4e38f};
  NamedVectors named;
  explicit Three(std::vector<std::string_view> ids = {"50", "a \"b\", c", "ö"}) {
    named.name = "item_embedding", named.id_name = "item";
    named.vectors = {values.data(), {3, 2}};
    named.ids = std::move(ids);
    named.origins = {{"fingerprint.weights", "f"}};
  }
};

template <class T>
std::vector<T> numbers(const std::string& bytes, size_t from) {
  std::vector<T> out((bytes.size() - from) / sizeof(T));
  std::memcpy(out.data(), bytes.data() + from, out.size() * sizeof(T));
  return out;
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

std::vector<float> vector_of(const nlohmann::json& from) { return from.get<std::vector<float>>(); }

}  // namespace

TEST_CASE("export: npy and fbin, each with its ids beside, a line a row") {
  const TempFolder folder;
  const Three three;
  const std::string npy = folder.path() + "/v.npy", fbin = folder.path() + "/v.fbin";
  write_vectors(npy, "npy", three.named);
  std::string bytes = read_whole_file(npy);
  CHECK(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\x00", 8));
  const size_t header = static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
  CHECK((10 + header) % 64 == 0);
  CHECK(bytes.substr(10, header).find("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }") == 0);
  CHECK(bytes[9 + header] == '\n');
  CHECK(numbers<float>(bytes, 10 + header) == three.values);
  write_vectors(fbin, "fbin", three.named);
  bytes = read_whole_file(fbin);
  CHECK(numbers<int32_t>(bytes.substr(0, 8), 0) == std::vector<int32_t>{3, 2});
  CHECK(numbers<float>(bytes, 8) == three.values);
  for (const std::string& path : {npy, fbin}) CHECK(read_whole_file(path + ".ids.txt") == "50\na \"b\", c\nö\n");
}

TEST_CASE("export: safetensors holds vectors, ids and whose they are in one file") {
  const TempFolder folder;
  const Three three({"a\nb", "", "\xff"});  // any bytes
  const std::string path = folder.path() + "/v.safetensors";
  write_vectors(path, "safetensors", three.named);
  const SafetensorsFile file = SafetensorsFile::open(path);
  const float* values = file.data<float>("item_embedding", {3, 2});
  CHECK(std::vector<float>(values, values + 6) == three.values);
  const IdTable ids(file.data<int64_t>("id_offsets", {4}), file.data<uint8_t>("id_bytes"), 3,
                    file.entry("id_bytes").elements());
  for (int64_t i = 0; i < 3; ++i) CHECK(ids.text(i) == three.named.ids[static_cast<size_t>(i)]);
  CHECK(file.metadata().at("fingerprint.weights") == "f");
  CHECK(!fs::exists(path + ".ids.txt"));
}

TEST_CASE("export: jsonl and opensearch, each line an object, each number the float that it was") {
  const TempFolder folder;
  Three three;
  three.named.payload = {",\"genre\":[\"x\"]", "", ""};
  const std::string path = folder.path() + "/v";
  write_vectors(path, "jsonl", three.named);
  auto read = lines(read_whole_file(path));
  REQUIRE(read.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    const auto point = nlohmann::json::parse(read[i]);
    CHECK(vector_of(point["vector"]) == std::vector<float>{three.values[2 * i], three.values[2 * i + 1]});
    CHECK(point["payload"]["item"] == three.named.ids[i]);
    CHECK(point["payload"].contains("genre") == (i == 0));
    CHECK(point["id"].dump() == point_id(three.named.ids[i]));
  }
  write_vectors(path, "opensearch", three.named);
  read = lines(read_whole_file(path));
  REQUIRE(read.size() == 6);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(nlohmann::json::parse(read[2 * i]) == nlohmann::json{{"index", {{"_id", three.named.ids[i]}}}});
    const auto document = nlohmann::json::parse(read[2 * i + 1]);
    CHECK(vector_of(document["embedding"]) == std::vector<float>{three.values[2 * i], three.values[2 * i + 1]});
    CHECK(document["item"] == three.named.ids[i]);
  }
}

TEST_CASE("export: csv as PostgreSQL's COPY reads it") {
  const TempFolder folder;
  const Three three;
  write_vectors(folder.path() + "/v.csv", "csv", three.named);
  const auto read = lines(read_whole_file(folder.path() + "/v.csv"));
  REQUIRE(read.size() == 4);
  CHECK(read[0] == "item,embedding");
  CHECK(read[1] == "\"50\",\"[1,-0.1]\"");
  CHECK(read[2].starts_with("\"a \"\"b\"\", c\",\"[0.33333334,1e-30]\""));
}

TEST_CASE("export: a point's id is the number itself, or a UUID that is always the same") {
  CHECK(point_id("0") == "0");
  CHECK(point_id("18446744073709551615") == "18446744073709551615");
  const auto is_uuid = [](const std::string& id) {
    return id.size() == 38 && id[9] == '-' && id[14] == '-' && id[15] == '8' && id[19] == '-' && id[24] == '-' &&
           std::string("89ab").find(id[20]) != std::string::npos;
  };
  for (const char* text : {"", "007", "-1", "+1", "18446744073709551616", "1.5", " 1", "film"}) {
    INFO(text);
    CHECK(is_uuid(point_id(text)));
    CHECK(point_id(text) == point_id(std::string(text)));
  }
  CHECK(point_id("film") != point_id("films"));
}

TEST_CASE("export: what a format cannot hold is refused before anything is written") {
  const TempFolder folder;
  const std::string path = folder.path() + "/v";
  const auto refusal = [&](const char* format, const Three& three) {
    return error_of([&] { write_vectors(path, format, three.named); }, path + format);
  };
  const std::string at = "[export " + path + "] ";
  CHECK(refusal("npy", Three({"a", "b\nc", "d"})) ==
        at + "the id \"b\\nc\" has a line break, which would shift the lines of the id file; use safetensors, jsonl or "
             "csv");
  CHECK(refusal("fbin", Three({"a", "b\r", "d"})).find("has a line break") != std::string::npos);
  CHECK(refusal("jsonl", Three({"a", "\xff", "d"})).find("is no UTF-8; use safetensors") != std::string::npos);
  CHECK(refusal("csv", Three({"a", std::string_view("\0", 1), "d"})).find("holds a zero byte") != std::string::npos);
  CHECK(refusal("opensearch", Three({"a", "", "d"})) == at + "the id \"\" has 0 bytes, OpenSearch takes 1 to 512; use "
                                                             "jsonl");
  Three nan;
  nan.values[3] = NAN;
  CHECK(refusal("csv", nan).find("holds a number that is not finite") != std::string::npos);
  CHECK(fs::is_empty(folder.path()));
  CHECK(error_of([] { vector_format_of("v.txt"); }, "no file") ==
        "[export] --out v.txt: the name must end in .npy, .safetensors, .fbin, .jsonl or .csv, or --format say what to "
        "write");
}

TEST_CASE("export: vectors and ids are replaced together or not at all") {
  const TempFolder folder;
  const std::string path = folder.path() + "/v.npy";
  write_vectors(path, "npy", Three().named);
  const std::string before = read_whole_file(path);
  Three other;
  other.values[0] = 7;
  fs::remove(path + ".ids.txt");
  fs::create_directory(path + ".ids.txt");  // where the ids cannot go, the vectors stay as they were
  CHECK(error_of([&] { write_vectors(path, "npy", other.named); }, "a folder").find("is no regular file") !=
        std::string::npos);
  CHECK(read_whole_file(path) == before);
  fs::remove(path + ".ids.txt");
  write_vectors(path, "npy", other.named);
  CHECK(read_whole_file(path) != before);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 2);
}
