#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/data_summary.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/data/dataset_writer.h>
#include <twotower/train/simulate/simulator.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

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
  CLI::App* command = app.add_subcommand("simulate", "Makes a dataset whose truth is known");
  command->footer("Example: twotower simulate --out D --users 2000 --items 1000 --impressions 100000");
  command->add_option("--out", a->out, "Dataset folder to write")->required();
  command->add_option("--world", o.world, "static, or drifting: interests move, users and items come and go")
      ->capture_default_str();
  command->add_option("--users", o.users, "Users")->capture_default_str();
  command->add_option("--items", o.items, "Items")->capture_default_str();
  command->add_option("--impressions", o.impressions, "Rows of the log")->capture_default_str();
  command->add_option("--tasks", o.tasks, "Labels, each rarer than the one before")->capture_default_str();
  command->add_option("--positions", o.positions, "Slots of a slate")->capture_default_str();
  command->add_option("--latent", o.latent, "Size of the true preference vectors")->capture_default_str();
  command->add_option("--features", o.features, "Numeric features a user and an item")->capture_default_str();
  command->add_option("--feature-noise", o.feature_noise, "What hides the preferences in the features")
      ->capture_default_str();
  command->add_option("--zipf", o.zipf, "Exponent of item popularity; 0 is uniform")->capture_default_str();
  command->add_option("--policy-relevance", o.policy_relevance, "How well the logging policy knows relevance")
      ->capture_default_str();
  command->add_option("--policy-order", o.policy_order, "How strongly popular items go to the upper slots")
      ->capture_default_str();
  command->add_option("--examination-decay", o.examination_decay, "Slot p (from 0) is examined with (1 + p)^-decay")
      ->capture_default_str();
  command->add_option("--propensity-spread", o.propensity_spread, "How much users differ in acting at all")
      ->capture_default_str();
  command->add_option("--ranker-noise", o.ranker_noise, "Noise of the main ranker's view")->capture_default_str();
  command
      ->add_option("--ranker-popularity-bias", o.ranker_popularity_bias,
                   "A wrong ranker: this much is added to its logits for each standard deviation of an item's log "
                   "popularity")
      ->capture_default_str();
  command->add_option("--score-noise", o.score_noise, "Noise on the logits of the logged scores alone")
      ->capture_default_str();
  command
      ->add_option("--sparse-users", o.sparse_users,
                   "Share of users who keep only their last 1, 3 or 10 training rows, a third of them each")
      ->capture_default_str();
  add_seed(*command, o.seed, "Random seed");
  add_threads(*command, a->threads);
  command->add_flag("--json", a->json, "Print one JSON object");
  command->add_flag("--quiet", a->quiet, "No progress");
  command->callback([a] {
    if (a->threads > 0) set_num_threads(a->threads);
    check_dataset_target(a->out);  // before the message
    if (!a->quiet)
      std::fprintf(stderr, "simulating %lld impressions\n", static_cast<long long>(a->options.impressions));
    simulate(a->out, a->options);
    print_dataset_summary(a->out, a->json);
  });
}

}  // namespace tt
