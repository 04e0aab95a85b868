#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/files/safetensors.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "tests/train/fixtures.h"

using namespace tt;
namespace fs = std::filesystem;

namespace {

// A file of `header` and `data_bytes` zeros, as a careless or hostile writer would make it.
std::string make_file(const TempFolder& folder, const std::string& header, size_t data_bytes) {
  const std::string path = folder.path() + "/x.safetensors";
  std::ofstream out(path, std::ios::binary);
  const uint64_t n = header.size();
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(n >> (8 * i));
  out.write(length, 8);
  out << header << std::string(data_bytes, '\0');
  return path;
}

std::string refusal(const std::string& path) {
  return error_of([&] { SafetensorsFile::open(path); }, path);
}

}  // namespace

TEST_CASE("safetensors: what is written is read back, aligned and in file order") {
  TempFolder folder;
  const std::string path = folder.path() + "/a.safetensors";
  const std::vector<uint8_t> bytes{1, 2, 3};
  const std::vector<float> floats{1.5f, -2, 0, 4, 5, 6};
  const std::vector<int64_t> longs{-7};
  SafetensorsWriter writer;
  writer.add("bytes", bytes.data(), {3});
  writer.add("floats", floats.data(), {2, 3});
  writer.add("longs", longs.data(), {1});
  writer.add("nothing", floats.data(), {0, 4});
  writer.metadata("made by", "a test");
  writer.write(path);

  SafetensorsFile opened = SafetensorsFile::open(path);
  const SafetensorsFile file = std::move(opened);
  CHECK(file.names() == std::vector<std::string>{"longs", "floats", "nothing", "bytes"});
  CHECK(file.metadata().at("made by") == "a test");
  CHECK(file.data<int64_t>("longs", {1})[0] == -7);
  CHECK(std::memcmp(file.data<float>("floats", {2, -1}), floats.data(), 24) == 0);
  CHECK(file.data<uint8_t>("bytes")[2] == 3);
  CHECK(file.entry("nothing").elements() == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(file.data<float>("floats")) % 4 == 0);

  CHECK(error_of([&] { file.entry("float"); }, path) ==
        "[safetensors FILE] has no tensor \"float\"; did you mean \"floats\"?");
  CHECK(error_of([&] { file.data<float>("longs"); }, path) ==
        "[safetensors FILE] tensor \"longs\" is I64, expected F32; convert it");
  CHECK(error_of(
            [&] {
              file.data<float>("floats", {3, 2});
            },
            path) ==
        "[safetensors FILE] tensor \"floats\" has shape [2, 3], expected [3, 2]; was it written for another "
        "configuration?");
}

TEST_CASE("safetensors: a tensor that another writer left unaligned is still readable") {
  TempFolder folder;
  const auto path = make_file(folder,
                              R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                              R"("d":{"dtype":"F64","shape":[2],"data_offsets":[1,17]}})",
                              17);
  const auto file = SafetensorsFile::open(path);
  const double* d = file.data<double>("d", {2});
  CHECK(reinterpret_cast<std::uintptr_t>(d) % 8 == 0);
  CHECK(d[1] == 0);
}

TEST_CASE("safetensors: hostile headers are refused in one line") {
  TempFolder folder;
  const auto header = [&](const std::string& text, size_t bytes) { return refusal(make_file(folder, text, bytes)); };
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";

  CHECK(refusal(folder.path() + "/none") ==
        "[safetensors FILE] cannot be opened: No such file or directory; check the path");
  CHECK(refusal(folder.path()) == "[safetensors FILE] is not a regular file; give the path of a .safetensors file");
  write_file_atomically(folder.path() + "/short", "1234567");
  CHECK(refusal(folder.path() + "/short") ==
        "[safetensors FILE] is truncated: 7 bytes, but the header length alone "
        "takes 8; copy or write the file again");
  write_file_atomically(folder.path() + "/huge", "\xff\xff\xff\xff\xff\xff\xff\x7f{}");
  CHECK(refusal(folder.path() + "/huge") ==
        "[safetensors FILE] has a header of 9223372036854775807 bytes, more than the 100000000 allowed; it is "
        "probably not a safetensors file");
  write_file_atomically(folder.path() + "/cut", std::string("\x20\0\0\0\0\0\0\0{}", 10));
  CHECK(refusal(folder.path() + "/cut") ==
        "[safetensors FILE] is truncated: the header takes 32 bytes, the file has "
        "2 after the header length; copy or write the file again");
  CHECK(header("{\"a\":", 0) ==
        "[safetensors FILE] has a header that is not valid JSON; it is damaged or not a safetensors file");
  CHECK(header(std::string(200000, '['), 0) ==
        "[safetensors FILE] has a header that is not valid JSON; it is damaged or not a safetensors file");
  CHECK(header("[]", 0) == "[safetensors FILE] has a header that is not a JSON object; it is not a safetensors file");
  CHECK(header("{" + a + "," + a + "}", 8) ==
        "[safetensors FILE] has the name \"a\" twice in its header; write it again");
  CHECK(header(R"({"a":{"dtype":"F32","shape":[2]}})", 8) ==
        "[safetensors FILE] tensor \"a\" lacks a dtype, shape or data_offsets; the header is damaged");
  CHECK(header(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8) ==
        "[safetensors FILE] tensor \"a\" has the unknown dtype \"F31\"; convert it to F32, F64, I64, I32 or "
        "U8");
  CHECK(header(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8) ==
        "[safetensors FILE] tensor \"a\": -2 is not a size; the header is damaged");
  CHECK(header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8) ==
        "[safetensors FILE] tensor \"a\": data_offsets [8, 0] run backwards; the header is damaged");
  CHECK(header("{" + a + "}", 7) ==
        "[safetensors FILE] tensor \"a\": data_offsets [0, 8] reach beyond the 7 bytes of "
        "data; the file is truncated, copy it again");
  CHECK(header(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8) ==
        "[safetensors FILE] tensor \"a\": F32 [3] takes 12 bytes, data_offsets give 8; the header is damaged");
  CHECK(header(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", 8) ==
        "[safetensors FILE] tensor \"a\": shape [4611686018427387904, 4] is too large; the header is damaged");
  CHECK(header("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12) ==
        "[safetensors FILE] tensors \"a\" and \"b\" overlap; the header is damaged");
  CHECK(header("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})", 16) ==
        "[safetensors FILE] has 4 bytes before tensor \"b\" that belong to none; the header is damaged");
  CHECK(header("{" + a + "}", 9) == "[safetensors FILE] has 1 bytes after its last tensor; the header is damaged");
  CHECK(header(R"({"__metadata__":{"a":1}})", 0) ==
        "[safetensors FILE] __metadata__ \"a\" is not a text; the header is damaged");
}

TEST_CASE("safetensors: the writer refuses bad names, and each name twice") {
  SafetensorsWriter writer;
  const float x = 1;
  writer.add("x", &x, {1});
  CHECK(error_of([&] { writer.add("x", &x, {1}); }) == "[safetensors] the tensor \"x\" was added twice");
  CHECK(error_of([&] { writer.add("__metadata__", &x, {1}); }) ==
        "[safetensors] a tensor cannot be named \"__metadata__\"");
  CHECK(error_of([&] { writer.add("y", &x, {-1}); }) == "[safetensors] tensor \"y\": shape [-1] has a negative size");
}

TEST_CASE("safetensors: a write that fails leaves the old file and nothing else") {
  TempFolder folder;
  const std::string path = folder.path() + "/w.safetensors";
  std::vector<float> values(100000);
  SafetensorsWriter small, large;
  small.add("x", values.data(), {10});
  large.add("x", values.data(), {100000});
  small.write(path);

  // A file size limit stands in for a full disk: the write fails part way.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  rlimit tight = before;
  tight.rlim_cur = 100000;
  setrlimit(RLIMIT_FSIZE, &tight);
  const std::string message = error_of([&] { large.write(path); }, path);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  CHECK(message ==
        "[FILE] writing failed: File too large; nothing was written, the file size limit (ulimit -f) is "
        "too small for it");
  CHECK(SafetensorsFile::open(path).entry("x").elements() == 10);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);

  CHECK(error_of([&] { small.write(folder.path() + "/none/w"); }, folder.path() + "/none/w") ==
        "[FILE] cannot be created: No such file or directory; make its folder first, or choose another");
}

TEST_CASE("safetensors: a full disk while saving") {
  // Where the machine allows a tiny disk of our own; elsewhere the test above stands alone.
  TempFolder folder;
  const std::string mount = "mount -t tmpfs -o size=64k none " + folder.path() + " 2>/dev/null";
  if (std::system(mount.c_str()) != 0) {
    MESSAGE("skipped: this user may not mount a small disk");
    return;
  }
  const std::string path = folder.path() + "/w.safetensors";
  std::vector<float> values(100000);
  SafetensorsWriter large;
  large.add("x", values.data(), {100000});
  const std::string message = error_of([&] { large.write(path); }, path);
  const bool empty = fs::is_empty(folder.path());
  CHECK(std::system(("umount " + folder.path()).c_str()) == 0);
  CHECK(message ==
        "[FILE] writing failed: No space left on device; nothing was written, free some space on that disk "
        "or choose another folder");
  CHECK(empty);
}

TEST_CASE("safetensors: a file that lies in memory, at any address") {
  TempFolder folder;
  const std::string path = folder.path() + "/a.safetensors";
  const std::vector<float> floats{1.5f, -2, 0};
  SafetensorsWriter writer;
  writer.add("floats", floats.data(), {3});
  writer.write(path);
  const std::string bytes = read_whole_file(path);
  for (size_t shift = 0; shift < 8; ++shift) {
    const std::string moved = std::string(shift, 'x') + bytes;
    const SafetensorsFile file = SafetensorsFile::view(moved.data() + shift, bytes.size(), "in memory");
    const float* data = file.data<float>("floats", {3});
    CHECK(std::memcmp(data, floats.data(), 12) == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(data) % 4 == 0);
  }
  CHECK(error_of([&] { SafetensorsFile::view(bytes.data(), 7, "in memory"); }) ==
        "[safetensors in memory] is truncated: 7 bytes, but the header length alone takes 8; copy or write the file "
        "again");
  CHECK(error_of([&] { SafetensorsFile::view(nullptr, 0, "in memory"); }) ==
        "[safetensors in memory] is truncated: 0 bytes, but the header length alone takes 8; copy or write the file "
        "again");
}
