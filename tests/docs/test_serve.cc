// docs/examples/serve.cc: it recommends what the library recommends, and holds nothing of training.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/train/fit/trainer.h>

#include <array>
#include <cstdio>
#include <sstream>

#include "tests/train/evaluate/serving_fixtures.h"
#include "tests/train/fit/training_fixtures.h"

using namespace tt;

namespace {

std::string output_of(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe);
  std::string out;
  std::array<char, 4096> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.append(buffer.data(), n);
  pclose(pipe);
  return out;
}

std::vector<std::string> first_fields(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) out.push_back(line.substr(0, line.find('\t')));
  return out;
}

}  // namespace

TEST_CASE("serve: a user by id and one in words, from the bundle alone") {
  const testing::Threads one(1);
  const TempFolder folder;
  std::string bundle_path = folder.path() + "/run/bundle.safetensors";
  {
    const Dataset data = open_written(folder, made_up_content(60, 50, 5));
    RunConfig config;
    config.data = data.dir(), config.model = small_config(data), config.model.history = true, config.train.epochs = 1;
    train(config, data, folder.path() + "/run");
  }
  std::filesystem::remove_all(folder.path() + "/data");  // nothing of it is read
  const Bundle bundle = Bundle::open(bundle_path);
  const Recommender recommender(bundle);
  Session session;
  TopItems top;
  const auto ids = [&] {
    std::vector<std::string> out;
    for (const int64_t row : top.items(0)) out.emplace_back(recommender.catalog().id(row));
    return out;
  };
  const std::string serve = std::string(TWOTOWER_SERVE) + " " + bundle_path + " ";
  recommender.recommend(session, "u3", {.k = 10}, top);
  CHECK(ids().size() == 10);
  CHECK(first_fields(output_of(serve + "--user u3")) == ids());
  const std::vector<NamedValue> features = {{"x", "0.25"}};
  const std::vector<std::string_view> history = {"i7", "i2"};
  recommender.recommend(session, {.features = features, .history = history}, {.k = 10}, top);
  CHECK(first_fields(output_of(serve + "x=0.25 --history i7,i2")) == ids());
  CHECK(output_of(serve + "--user nobody 2>&1").find("[retrieve] there is no user \"nobody\"") == 0);
}

TEST_CASE("serve: it links nothing of training, no CSV, no TOML and no command line library") {
  const std::string libraries = output_of("ldd " TWOTOWER_SERVE), symbols = output_of("nm -C " TWOTOWER_SERVE);
  REQUIRE(libraries.find("libc.so") != std::string::npos);
  REQUIRE(symbols.find("tt::Bundle::open") != std::string::npos);
  for (const char* library : {"libcsv", "tomlplusplus"}) CHECK(libraries.find(library) == std::string::npos);
  for (const char* symbol : {"tt::Dataset", "tt::Loader", "tt::Adam", "tt::train(", "tt::Evaluator",
                             "tt::ServedDataset", "toml::", "CLI::", "csv_parse"})
    CHECK_MESSAGE(symbols.find(symbol) == std::string::npos, symbol);
}
