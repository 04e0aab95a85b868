// Bundles whose tables are held in 8 or 16 bits: how near they come, that they belong together, and what is refused.

#include <doctest/doctest.h>
#include <twotower/models/bundle/packed_table.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/tensor/files/atomic_file.h>
#include <xmmintrin.h>

#include <cmath>
#include <cstring>

#include "tests/models/bundle_fixtures.h"

using namespace tt;
using namespace tt::testing;

namespace {

ModelConfig wide_config() {
  ModelConfig config = rung_config("history");
  config.user_id_hash_size = 40, config.item_id_hash_size = 300;
  config.user_id_embedding_dim = config.item_id_embedding_dim = 32;
  return config;
}

float largest_of(const float* row, int64_t n) {
  float largest = 0;
  for (int64_t j = 0; j < n; ++j) largest = std::max(largest, std::abs(row[j]));
  return largest;
}

}  // namespace

TEST_CASE("packed table: int8 is within half a step of each row, zeros stay zeros") {
  std::vector<float> values(7 * 5, 0);
  const Philox random(3);
  for (size_t i = 5; i < values.size(); ++i)
    values[i] = static_cast<float>(random.normal(i)) * std::pow(10.0f, static_cast<float>(i / 5) - 3);
  const PackedTable packed = pack_table("t", {values.data(), {7, 5}}, TableType::int8);
  REQUIRE(packed.scales.size() == 7);
  for (int64_t r = 0; r < 7; ++r) {
    const float* row = values.data() + r * 5;
    const float largest = largest_of(row, 5);
    CHECK(packed.scales[static_cast<size_t>(r)] == largest / 127);
    for (int64_t j = 0; j < 5; ++j)
      CHECK(std::abs(packed.read[static_cast<size_t>(r * 5 + j)] - row[j]) <= largest / 127 * 0.5001f);
  }
}

TEST_CASE("packed table: fp16 rounds to the nearest, small, large and negative") {
  const std::vector<float> values = {0,      1,        -2,       65504,      1e6f,           1.0009765625f,
                                     -1e-9f, 0x1p-24f, 0x1p-14f, 0x1.8p-25f, 1.00048828125f, 1.00146484375f};
  const std::vector<float> expected = {0,           1, -2, 65504, 65504, 1.0009765625f, 0, 0x1p-24f, 0x1p-14f, 0x1p-24f,
                                       1,  // half way: to the even one
                                       1.001953125f};
  const PackedTable packed = pack_table("t", {values.data(), {2, 6}}, TableType::fp16);
  for (size_t i = 0; i < values.size(); ++i) CHECK(packed.read[i] == expected[i]);
  // Every finite number of 16 bits is kept as it is.
  std::vector<uint16_t> all;
  for (uint32_t h = 0; h < 0x10000; ++h)
    if ((h & 0x7c00) != 0x7c00) all.push_back(static_cast<uint16_t>(h));
  std::vector<float> read(all.size());
  const auto n = static_cast<int64_t>(all.size());
  unpack_fp16(all.data(), 1, n, read.data());
  std::vector<float> flushed(all.size());  // as read in a host that has no numbers that are not normal
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  unpack_fp16(all.data(), 1, n, flushed.data());
  _mm_setcsr(before);
  CHECK(std::memcmp(flushed.data(), read.data(), all.size() * sizeof(float)) == 0);
  CHECK(read[1] == 0x1p-24f);
  CHECK(read[0x3c00] == 1);
  const PackedTable again = pack_table("t", {read.data(), {1, n}}, TableType::fp16);
  CHECK(std::memcmp(again.bytes.data(), all.data(), again.bytes.size()) == 0);
  const float bad = NAN;
  CHECK(error_of(
            [&] {
              pack_table("t", {&bad, {1, 1}}, TableType::int8);
            },
            "no file") == "[bundle] \"t\" holds a number that is not finite; train anew");
}

TEST_CASE("packed bundle: smaller, whole, and it finds nearly the same") {
  const TempFolder folder;
  HandMade made(wide_config(), 40, 300);
  const std::string path = made.write(folder);
  const Bundle whole = Bundle::open(path);
  const Recommender truth(whole);
  for (const TableType type : {TableType::fp16, TableType::int8}) {
    const bool fp16 = type == TableType::fp16;
    CAPTURE(fp16);
    const std::string packed_path = folder.path() + (fp16 ? "/fp16" : "/int8");
    write_bundle(packed_path, made.content, type);
    const Bundle packed = Bundle::open(packed_path);
    packed.verify();
    CHECK(SafetensorsFile::open(packed_path).metadata().at("version") == "2");
    CHECK(std::filesystem::file_size(packed_path) < std::filesystem::file_size(path));
    CHECK(packed.weights_fingerprint() != whole.weights_fingerprint());
    for (int64_t i = 0; i < 300; ++i)
      for (int64_t j = 0; j < 32; ++j) {
        const float x = whole.item_vectors().row(i)[j], off = std::abs(packed.item_vectors().row(i)[j] - x);
        CHECK(off <= (fp16 ? std::abs(x) * 0x1p-11f + 0x1p-25f : largest_of(whole.item_vectors().row(i), 32) / 253));
      }
    const Recommender asked(packed);
    Session session;
    TopItems found, best;
    int64_t hits = 0;
    for (int64_t u = 0; u < 40; ++u) {
      const std::string id = "u" + std::to_string(u);
      asked.recommend(session, id, {.k = 20}, found);
      truth.recommend(session, id, {.k = 20}, best);
      for (const int64_t item : best.items(0)) hits += std::count(found.items(0).begin(), found.items(0).end(), item);
    }
    CHECK(hits >= (fp16 ? 795 : 760));  // of 800
    Bundle moved = Bundle::open(packed_path);
    const Bundle kept = std::move(moved);
    CHECK(kept.item_vectors().row(299)[31] == packed.item_vectors().row(299)[31]);
  }
}

TEST_CASE("packed bundle: every changed byte of its tables is found") {
  const TempFolder folder;
  HandMade made(rung_config("history"), 5, 8);
  made.write(folder);
  const std::string path = folder.path() + "/int8";
  write_bundle(path, made.content, TableType::int8);
  const std::string bytes = read_whole_file(path);
  const SafetensorsFile file = SafetensorsFile::open(path);
  const std::byte* start = file.entry(file.names()[0]).data;
  const size_t data = bytes.size() - [&] {
    size_t sum = 0;
    for (const std::string& name : file.names()) sum += file.entry(name).bytes;
    return sum;
  }();
  for (const char* name : {"item_id_embedding_arch.weight", "items.vectors", "items.vectors.scale",
                           "user_id_embedding_arch.weight.scale"}) {
    INFO(name);
    const TensorEntry& entry = file.entry(name);
    std::string changed = bytes;
    const size_t at = data + static_cast<size_t>(entry.data - start) + entry.bytes / 2;
    changed[at] = static_cast<char>(changed[at] ^ 4);
    folder.file("changed", changed);
    CHECK(error_of([&] { Bundle::open(folder.path() + "/changed").verify(); }, "no file").find("twotower pack") !=
          std::string::npos);
  }
}
