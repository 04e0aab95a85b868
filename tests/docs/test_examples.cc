// docs/examples/: short programs on the engine alone. Meson runs them, one test each; here is what they are made of.

#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), n);
  CHECK(pclose(pipe) == 0);
  return text;
}

}  // namespace

TEST_CASE("examples: each file is under 80 lines") {
  int files = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(std::filesystem::path(TWOTOWER_SOURCE_DIR) / "docs/examples")) {
    if (entry.path().extension() != ".cc") continue;
    std::ifstream in(entry.path());
    int lines = 0;
    for (std::string line; std::getline(in, line);) ++lines;
    INFO(entry.path().string());
    CHECK(lines < 80);
    ++files;
  }
  CHECK(files >= 4);
}

// They link the engine, the layers and the optimizers; nothing of models/ or the rest of train/, no reader of CSV or
// TOML, no library of the command line.
TEST_CASE("examples: a program that trains a model of its own needs no more than the engine") {
  const std::string example = TWOTOWER_EXAMPLE;
  const std::string libraries = output_of("ldd '" + example + "'"), symbols = output_of("nm -C '" + example + "'");
  CHECK(libraries.find("libc.so") != std::string::npos);
  CHECK(symbols.find("tt::Adam<float>") != std::string::npos);
  for (const char* foreign : {"csv", "toml", "CLI"}) {
    INFO(foreign);
    CHECK(libraries.find(std::string("lib") + foreign) == std::string::npos);
    CHECK(symbols.find(std::string(foreign) + "::") == std::string::npos);
  }
  for (const char* foreign : {"TwoTower", "Dataset", "Trainer", "RunConfig", "ModelConfig"}) {
    INFO(foreign);
    CHECK(symbols.find(std::string("tt::") + foreign) == std::string::npos);
  }
}
