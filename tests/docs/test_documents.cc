// Code that a document shows is a file's, or a part of one, that the tests compile and run. A block is marked with it:
//
//   <!-- code: docs/examples/own_op.cc -->          the whole file
//   <!-- code: tests/docs/test_readme.cc: README example -->   what lies between "// README example begins" and "ends"

#include <doctest/doctest.h>
#include <twotower/train/run/config.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace {

const std::filesystem::path kRoot = TWOTOWER_SOURCE_DIR;

std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const size_t at = text.find(begin);
  if (at == std::string::npos) return "";
  const size_t from = at + begin.size();
  return text.substr(from, text.find(end, from) - from);
}

std::vector<std::filesystem::path> documents() {
  std::vector<std::filesystem::path> all = {kRoot / "README.md"};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot / "docs"))
    if (entry.path().extension() == ".md") all.push_back(entry.path());
  return all;
}

}  // namespace

TEST_CASE("code in the documents is the code that the tests compile") {
  int blocks = 0;
  for (const std::filesystem::path& document : documents()) {
    const std::string text = slurp(document), mark = "<!-- code: ";
    INFO(document.string());
    size_t marked = 0, at = 0;
    for (; (at = text.find(mark, at)) != std::string::npos; at += mark.size()) {
      const std::string name = between(text.substr(at), mark, " -->");
      const size_t colon = name.find(": ");
      const std::string source = slurp(kRoot / name.substr(0, colon));
      INFO(name);
      const std::string printed = between(text.substr(at), " -->\n```cpp\n", "```\n");
      std::string compiled = source;
      if (colon != std::string::npos) {
        const std::string part = name.substr(colon + 2);
        compiled = between(source, "// " + part + " begins\n", "// " + part + " ends");
      }
      CHECK(!printed.empty());
      CHECK(printed == compiled);
      ++marked, ++blocks;
    }
    size_t shown = 0;
    for (at = 0; (at = text.find("```cpp\n", at)) != std::string::npos; ++at) ++shown;
    CHECK(shown == marked);  // none without a mark
  }
  CHECK(blocks >= 3);
}

TEST_CASE("every key of a config file is in docs/config.md") {
  std::istringstream written(tt::to_toml(tt::RunConfig()));
  const std::string text = slurp(kRoot / "docs/config.md");
  int keys = 0;
  bool run = false;  // [run] is the program's own
  for (std::string line; std::getline(written, line);) {
    if (line.starts_with("[")) run = line == "[run]";
    const size_t end = line.find(" = ");
    if (run || end == std::string::npos) continue;
    const std::string key = line.substr(0, end);
    INFO(key);
    CHECK(text.find("`" + key + "`") != std::string::npos);
    ++keys;
  }
  CHECK(keys > 70);
}
