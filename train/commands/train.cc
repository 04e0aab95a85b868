#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/console.h>
#include <twotower/train/commands/shared/measures_json.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/run/run.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>

namespace tt {
namespace {

struct TrainArguments {
  std::string data, out, rung = "base", config;
  std::vector<std::string> set, ranker_pairs;
  bool resume = false, json = false, quiet = false;
  int threads = 0;
  int64_t seed = -1;
};

void print_summary(const TrainArguments& a, const TrainSummary& s) {
  if (a.json) {
    nlohmann::ordered_json out = {{"run", a.out},
                                  {"model", a.rung},
                                  {"epochs", s.epochs},
                                  {"best_epoch", s.best_epoch},
                                  {"steps", s.steps},
                                  {"seconds", s.seconds},
                                  {"parameters", s.parameters},
                                  {"loss", s.final_loss},
                                  {"monitor", s.monitor},
                                  {"valid", to_json(s.best_measures)}};
    if (!s.warning.empty()) out["warning"] = s.warning;
    std::printf("%s\n", out.dump().c_str());
    return;
  }
  std::printf("trained %s in %.1f s: %ld epochs, %ld steps, %ld parameters\n", a.rung.c_str(), s.seconds,
              static_cast<long>(s.epochs), static_cast<long>(s.steps), static_cast<long>(s.parameters));
  if (!std::isnan(s.best))
    std::printf("best epoch %ld: %s %.4f on the validation split\n", static_cast<long>(s.best_epoch), s.monitor.c_str(),
                s.best);
  std::printf("next: twotower evaluate --run %s\n", a.out.c_str());
}

void run_train(const TrainArguments& a) {
  if (a.threads > 0) set_num_threads(a.threads);
  RunConfig config;
  apply_rung(config, a.rung);
  if (!a.config.empty()) read_config_file(a.config, config);
  for (const std::string& assignment : a.set) set_config_key(config, assignment);
  if (a.seed >= 0) config.train.seed = a.seed;
  config.train.validate();
  config.data = std::filesystem::absolute(a.data).lexically_normal().string();  // evaluate may run elsewhere
  const Dataset data = Dataset::open(a.data);
  fit_config_to_data(config.model, data);
  config.model.validate();

  ProgressLine line(a.quiet);
  TrainOptions options;
  options.resume = a.resume;
  for (const std::string& file : a.ranker_pairs) add_ranker_pairs(options.ranker_pairs, read_ranker_pairs(file, data));
  options.progress = [&](const TrainProgress& p) { line.show(p); };
  options.message = [&](const std::string& text) { line.message(text); };
  print_summary(a, train(config, data, a.out, options));
}

}  // namespace

void register_train(CLI::App& app) {
  auto a = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "Trains a model on a dataset");
  command->footer("Example: twotower train --data D --out R --model history --set learning_rate=0.002");
  command->add_option("--data", a->data, "Dataset folder")->required();
  command->add_option("--out", a->out, "Run folder to write")->required();
  command->add_option("--model", a->rung, "One of base, history, position, user, debias, light, kd, reward, aligned")
      ->capture_default_str();
  command->add_option("--config", a->config, "TOML file with [model] and [train] tables");
  command->add_option("--set", a->set, "KEY=VALUE, on top of the config; may be repeated");
  command
      ->add_option(
          "--ranker-pairs", a->ranker_pairs,
          "A csv of pairs that the main ranker was asked about: user, item and a score a task; may be repeated. "
          "The run keeps a copy, so --resume needs none")
      ->allow_extra_args(false);
  command->add_flag("--resume", a->resume, "Go on from the last checkpoint in --out");
  add_threads(*command, a->threads);
  command->add_option("--seed", a->seed, "Random seed; the same as --set seed=N")
      ->check(whole_number(0, std::numeric_limits<int64_t>::max()));
  command->add_flag("--json", a->json, "Print one JSON object");
  command->add_flag("--quiet", a->quiet, "No progress");
  command->callback([a] { run_train(*a); });
}

}  // namespace tt
