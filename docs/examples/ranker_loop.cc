// The main ranker in the loop, where it is a function: train, choose the pairs worth asking about, ask, train on what
// it said. Here a simulated world's own ranker answers; put yours into `ask`.

#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/fit/ranker_loop.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/run/run.h>
#include <twotower/train/simulate/simulator.h>
#include <twotower/train/simulate/truth.h>

#include <cstdio>
#include <numeric>

using namespace tt;

int main(int argc, char** argv) {
  const std::string dir = argc > 1 ? argv[1] : "ranker_loop_data";
  SimulatorOptions world;
  world.users = 200, world.items = 150, world.impressions = 6000;
  simulate(dir + "/data", world);
  const Dataset data = Dataset::open(dir + "/data");
  const Truth truth = Truth::load(data);

  const double now = end_of_training(data);  // as of when it is asked
  int64_t questions = 0;
  const RankerCallback ask = [&](int64_t user, std::span<const int64_t> items, std::span<float> scores) {
    questions += static_cast<int64_t>(items.size());
    for (size_t i = 0; i < items.size(); ++i)
      for (int64_t task = 0; task < data.num_tasks(); ++task)
        scores[i * data.tasks().size() + static_cast<size_t>(task)] =
            static_cast<float>(truth.ranker_probability(user, now, items[i], task));
  };

  RunConfig config;
  config.data = data.dir();
  apply_rung(config, "kd");
  fit_config_to_data(config.model, data);

  TrainOptions options;  // options.ranker_pairs grows: all that the ranker has been asked
  std::vector<int64_t> everyone(static_cast<size_t>(data.num_users()));
  std::iota(everyone.begin(), everyone.end(), int64_t{0});
  for (int round = 0; round <= 3; ++round) {
    const std::string out = dir + "/run" + std::to_string(round);
    train(config, data, out, options);
    const Run run = open_run(out);
    const ServedDataset served(run.bundle, run.data);
    const EvaluationResult result = evaluate(served, {.ks = {20}, .baselines = false});
    std::printf("after %lld pairs: agreement@20 with the ranker %.3f\n",
                static_cast<long long>(options.ranker_pairs.size()), result.measures["agreement@20"]);
    if (round == 3) break;
    const UserItems known = scored_items(data, options.ranker_pairs);
    const CandidatePairs chosen = choose_candidates(served, everyone, known, {.per_user = 10});
    add_ranker_pairs(options.ranker_pairs, ask_ranker(chosen.pairs, data.num_tasks(), ask));
  }
  // Every question was asked once.
  return questions == 3 * 10 * data.num_users() && options.ranker_pairs.size() == questions ? 0 : 1;
}
