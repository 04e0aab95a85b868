#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "tensor/parallel.h"
#include "train/commands/commands.h"
#include "train/commands/data_summary.h"
#include "train/simulator.h"

namespace tt {

void register_simulate(CLI::App& app) {
  struct Arguments {
    SimulatorOptions options;
    std::string out;
    int threads = 0;
    bool json = false, quiet = false;
  };
  auto a = std::make_shared<Arguments>();
  SimulatorOptions& o = a->options;
  CLI::App* command = app.add_subcommand("simulate", "makes a dataset whose truth is known");
  command->footer("Example: twotower simulate --out D --users 2000 --items 1000 --impressions 100000");
  command->add_option("--out", a->out, "dataset folder to write")->required();
  command->add_option("--users", o.users, "users")->capture_default_str();
  command->add_option("--items", o.items, "items")->capture_default_str();
  command->add_option("--impressions", o.impressions, "rows of the log")->capture_default_str();
  command->add_option("--tasks", o.tasks, "labels, each rarer than the one before")->capture_default_str();
  command->add_option("--positions", o.positions, "slots of a slate")->capture_default_str();
  command->add_option("--latent", o.latent, "size of the true preference vectors")->capture_default_str();
  command->add_option("--features", o.features, "numeric features a user and an item")->capture_default_str();
  command->add_option("--feature-noise", o.feature_noise, "what hides the preferences in the features")
      ->capture_default_str();
  command->add_option("--zipf", o.zipf, "exponent of item popularity; 0 is uniform")->capture_default_str();
  command->add_option("--policy-relevance", o.policy_relevance, "how well the logging policy knows relevance")
      ->capture_default_str();
  command->add_option("--policy-order", o.policy_order, "how strongly popular items go to the upper slots")
      ->capture_default_str();
  command
      ->add_option("--examination-decay", o.examination_decay,
                   "slot p (from 0) is examined with (1 + p)^-decay")
      ->capture_default_str();
  command->add_option("--propensity-spread", o.propensity_spread, "how much users differ in acting at all")
      ->capture_default_str();
  command->add_option("--ranker-noise", o.ranker_noise, "noise of the main ranker's view")
      ->capture_default_str();
  command->add_option("--seed", o.seed, "random seed")->capture_default_str();
  command->add_option("--threads", a->threads, "threads to use")->check(CLI::PositiveNumber);
  command->add_flag("--json", a->json, "print one JSON object");
  command->add_flag("--quiet", a->quiet, "no progress");
  command->callback([a] {
    if (a->threads > 0) set_num_threads(a->threads);
    if (!a->quiet)
      std::fprintf(stderr, "simulating %lld impressions\n", static_cast<long long>(a->options.impressions));
    simulate(a->out, a->options);
    print_dataset_summary(a->out, a->json);
  });
}

}  // namespace tt
