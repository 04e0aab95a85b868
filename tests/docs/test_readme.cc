// The README's example, as printed there (test_documents.cc compares them): it must do what it says.

#include <doctest/doctest.h>

#include <fstream>

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

TEST_CASE("the README's example runs") {
  const tt::TempFolder temp;
  recommend(temp.path());
  CHECK(std::ifstream(temp.path() + "/run/model.safetensors").good());
}
