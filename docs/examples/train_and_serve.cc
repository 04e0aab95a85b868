// Trains a model on a world that it simulates, and serves the bundle: the best items for a user, one a line.
//
//   train_and_serve FOLDER [USER]
//
// Against an installed twotower:
//   c++ -std=c++20 -O2 train_and_serve.cc $(pkg-config --cflags --libs twotower-train) -o train_and_serve

#include <twotower/models/retrieval/recommender.h>
#include <twotower/tensor/error.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/run/run.h>
#include <twotower/train/simulate/simulator.h>

#include <cstdio>

int main(int argc, char** argv) try {
  tt::check(argc >= 2, "train_and_serve", "give a folder for the data and the run");
  const std::string dir = argv[1];
  tt::SimulatorOptions world;
  world.users = 300, world.items = 200, world.impressions = 20000;
  tt::simulate(dir + "/data", world);

  const tt::Dataset data = tt::Dataset::open(dir + "/data");
  tt::RunConfig config;
  config.data = data.dir();
  config.train.epochs = 2;
  tt::apply_rung(config, "history");
  tt::fit_config_to_data(config.model, data);
  tt::train(config, data, dir + "/run");

  const tt::Bundle bundle = tt::Bundle::open(dir + "/run/bundle.safetensors");
  const tt::Recommender recommender(bundle);
  tt::Session session;
  tt::TopItems top;
  recommender.recommend(session, argc > 2 ? argv[2] : "u0", {.k = 10}, top);
  for (size_t r = 0; r < top.items(0).size(); ++r)
    std::printf("%s\t%.4f\n", std::string(recommender.catalog().id(top.items(0)[r])).c_str(),
                static_cast<double>(top.scores(0)[r]));
} catch (const tt::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
