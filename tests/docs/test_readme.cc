// The README's example, as printed there: the test fails if the two drift apart, or if it does not do what it says.

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

// README example begins
#include <twotower/train/evaluate/serving.h>
#include <twotower/train/fit/run.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/simulate/simulator.h>

void recommend(const std::string& dir) {
  tt::simulate(dir + "/data", tt::SimulatorOptions());
  const tt::Dataset data = tt::Dataset::open(dir + "/data");
  tt::RunConfig config;
  config.data = data.dir();
  config.train.epochs = 2;
  tt::apply_rung(config.model, "history");
  tt::fit_config_to_data(config.model, data);
  tt::train(config, data, dir + "/run");
  const tt::Run run = tt::open_run(dir + "/run");
  tt::Retriever retriever(*run.model, run.data);
  tt::TopItems top;
  const tt::UserMoment user = tt::latest_moment(run.data, /*user=*/0);
  retriever.retrieve({&user, 1}, /*k=*/10, top);  // top.items(0), top.scores(0)
}
// README example ends

#include "tests/train/fixtures.h"

namespace {

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const size_t at = text.find(begin) + begin.size();
  return text.substr(at, text.find(end, at) - at);
}

}  // namespace

TEST_CASE("the README's example is this file's, and runs") {
  const std::string root = TWOTOWER_SOURCE_DIR;
  const std::string printed = between(slurp(root + "/README.md"), "```cpp\n", "```");
  const std::string compiled =
      between(slurp(root + "/tests/docs/test_readme.cc"), "// README example begins\n", "// README example ends");
  CHECK(printed == compiled);

  const tt::TempFolder temp;
  recommend(temp.path());
  CHECK(std::ifstream(temp.path() + "/run/model.safetensors").good());
}
