// What libtwotower-c exports: the functions of its header, with the types that were recorded, and nothing else; and the
// example that is linked with it.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/recommender.h>

#include <array>
#include <cstdio>
#include <set>
#include <sstream>

#include "tests/models/retrieval/c_api/c_fixtures.h"

using namespace tt;

namespace {

std::string output_of(const std::string& command, int* status = nullptr) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe);
  std::string out;
  std::array<char, 4096> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.append(buffer.data(), n);
  const int ended = pclose(pipe);
  if (status) *status = ended;
  return out;
}

}  // namespace

TEST_CASE("symbols: the functions of the header, and nothing else") {
  std::set<std::string> exported, declared;
  std::istringstream lines(output_of("nm -D --defined-only --format=posix " TWOTOWER_C_LIB));
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(0, line.find_first_of("@ "));
    if (name != "TWOTOWER_C_0") exported.insert(name);  // the version itself
  }
  const std::string header = read_whole_file(TWOTOWER_C_HEADER);
  for (size_t at = 0; (at = header.find("TT_API ", at)) != std::string::npos; ++at) {
    const size_t open = header.find('(', at), begin = header.find_last_of(" *", open) + 1;
    if (header.compare(begin, 3, "tt_") == 0) declared.insert(header.substr(begin, open - begin));
  }
  CHECK(declared.size() > 20);
  CHECK(exported == declared);
}

TEST_CASE("symbols: the interface is the one that was recorded") {
  int status = 0;
  output_of("abidiff --version", &status);
  if (status != 0) {
    MESSAGE("SKIPPED: abidiff is not installed (Debian: abigail-tools); the interface is not compared");
    return;
  }
  // Functions may come, and none may go or change. If one shall, raise the version and record this command's output as
  // libtwotower-c.abi.
  const TempFolder folder;
  const std::string now = folder.path() + "/now.abi";
  const std::string record =
      "abidw --no-show-locs --no-comp-dir-path --no-corpus-path --no-elf-needed "
      "--exported-interfaces-only " TWOTOWER_C_LIB;
  output_of(record + " --out-file " + now, &status);
  CHECK(status == 0);
  const std::string report = output_of("abidiff --no-added-syms " TWOTOWER_C_ABI " " + now, &status);
  CHECK_MESSAGE(status == 0, report, "Recorded by: ", record);
}

TEST_CASE("serve.c: it serves what the library serves, and links libtwotower-c alone of ours") {
  const testing::Written w(testing::c_config("history"));
  const Bundle bundle = Bundle::open(w.path);
  const Recommender recommender(bundle);
  Session session;
  TopItems top;
  const auto first_fields = [](const std::string& text) {
    std::vector<std::string> out;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) out.push_back(line.substr(0, line.find('\t')));
    return out;
  };
  const auto ids = [&] {
    std::vector<std::string> out;
    for (const int64_t row : top.items(0)) out.emplace_back(session.catalog().id(row));
    return out;
  };
  const std::string serve = TWOTOWER_C_SERVE " " + w.path + " ";
  recommender.recommend(session, "u3", {.k = 10}, top);
  CHECK(first_fields(output_of(serve + "--user u3")) == ids());
  const std::vector<NamedValue> features = {{"age", "45"}, {"town", "y"}};
  const std::vector<std::string_view> history = {"i7", "i2"};
  recommender.recommend(session, {.features = features, .history = history}, {.k = 10}, top);
  CHECK(first_fields(output_of(serve + "age=45 town=y --history i7 i2")) == ids());
  CHECK(output_of(serve + "--user nobody").find("[tt_recommend] there is no user \"nobody\"") == 0);
  const std::string libraries = output_of("ldd " TWOTOWER_C_SERVE);
  CHECK(libraries.find("libtwotower-c.so.0") != std::string::npos);
  CHECK(output_of("nm -D " TWOTOWER_C_SERVE).find("_ZN2tt") == std::string::npos);
}
