// The README's example, as printed there (test_documents.cc compares them): it must do what it says.

#include <doctest/doctest.h>

#include <fstream>

// README example begins
#include <twotower/models/retrieval/recommender.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/run/run.h>
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

  const tt::Bundle bundle = tt::Bundle::open(dir + "/run/bundle.safetensors");  // all that serving needs
  const tt::Recommender recommender(bundle);  // for any number of threads, each with a session of its own
  tt::Session session;
  tt::TopItems top;
  recommender.recommend(session, "u0", {.k = 10}, top);  // top.items(0), top.scores(0)
}
// README example ends

#include "tests/train/fixtures.h"

TEST_CASE("the README's example runs") {
  const tt::TempFolder temp;
  recommend(temp.path());
  CHECK(std::ifstream(temp.path() + "/run/bundle.safetensors").good());
}
