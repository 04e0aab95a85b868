// twotower demo: makes data with known truth, climbs the ladder, and shows what each rung brought.

#include <twotower/tensor/parallel.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/console.h>
#include <twotower/train/commands/options.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/text_table.h>
#include <twotower/train/fit/run.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/simulate/simulator.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace tt {
namespace {

// Small enough that the whole ladder takes a few minutes.
SimulatorOptions small_world() {
  SimulatorOptions world;
  world.users = 1000, world.items = 500, world.impressions = 50000;
  return world;
}

struct DemoArguments {
  std::string out = "twotower-demo", data;
  std::vector<std::string> rungs = rung_names(), set;
  SimulatorOptions world = small_world();
  int64_t epochs = 8;  // over all impressions, at most: each model stops when it gets no better
  int threads = 0;
  bool json = false, quiet = false;
};

// What the table of the ladder shows, with the measure's name for people.
struct Column {
  const char *measure, *heading;
};
constexpr Column kColumns[] = {{"recall@20", "recall@20"},       {"true_recall@20", "true recall@20"},
                               {"true_ndcg@10", "true NDCG@10"}, {"agreement@10:100", "agreement 10:100"},
                               {"agreement@20", "agreement@20"}, {"value_lost@10", "true value lost@10"}};

struct Rung {
  std::string name;
  Measures measures;
  double seconds = 0;
  int64_t best_epoch = 0;  // 0 for a baseline
};

// The demo's own settings of a rung, and on top of them what --set says.
RunConfig rung_config(const DemoArguments& a, const std::string& name, int64_t epochs) {
  RunConfig config;
  apply_rung(config, name);
  if (!config.model.needs_lists()) config.train.epochs = epochs;
  config.train.monitor = "agreement@20";  // with the main ranker, for users who are not measured afterwards
  config.train.seed = static_cast<int64_t>(a.world.seed);
  for (const std::string& assignment : a.set) set_config_key(config, assignment);
  config.train.validate();
  return config;
}

Rung climb(const DemoArguments& a, const Dataset& data, const std::string& name, ProgressLine& line) {
  RunConfig config = rung_config(a, name, a.epochs);
  fit_config_to_data(config.model, data);
  // As many examples for the rungs that learn from impressions with value only.
  const int64_t rows = Loader(data, config.model, config.train).rows();
  config = rung_config(a, name, a.epochs * data.split(Split::train).size / rows);
  fit_config_to_data(config.model, data);
  config.data = data.dir();
  TrainOptions options;
  options.progress = [&](const TrainProgress& p) { line.show(p); };
  line.message("training " + name);
  const std::string run_dir = a.out + "/" + name;
  const TrainSummary summary = train(config, data, run_dir, options);

  const Run run = open_run(run_dir);
  EvaluateOptions evaluation;
  evaluation.baselines = false;
  evaluation.ks = default_ks(data.num_available(), config.model);
  return {name, evaluate(ServedDataset(run.bundle, run.data), evaluation).measures, summary.seconds,
          summary.best_epoch};
}

void print_ladder(const std::vector<Rung>& ladder) {
  TextTable table;
  table.header = {"model"};
  for (const Column& c : kColumns) table.header.push_back(c.heading);
  table.header.push_back("seconds");
  for (const Rung& rung : ladder) {
    std::vector<std::string> row = {rung.name};
    for (const Column& c : kColumns)
      row.push_back(rung.measures.has(c.measure) ? decimals(rung.measures[c.measure]) : "-");
    row.push_back(rung.seconds > 0 ? decimals(rung.seconds, 1) : "-");
    table.rows.push_back(row);
  }
  table.print(std::cout);
}

void print_recommendations(const std::string& run_dir, const std::string& rung) {
  const Bundle bundle = Bundle::open(bundle_of_run(run_dir));
  const Recommender recommender(bundle);
  Session session;
  TopItems top;
  const std::string user(bundle.user_ids().text(0));
  recommender.recommend(session, user, {.k = 10}, top);
  std::cout << "\n10 items for user " << user << " from " << rung << "\n";
  TextTable table;
  table.header = {"item", "score"};
  for (size_t j = 0; j < top.items(0).size(); ++j)
    table.rows.push_back(
        {std::string(recommender.catalog().id(top.items(0)[j])), decimals(static_cast<double>(top.scores(0)[j]))});
  table.print(std::cout);
}

void run_demo(const DemoArguments& a) {
  for (const std::string& rung : a.rungs) rung_config(a, rung, a.epochs);  // a mistake shows before anything is written
  check_options(a.world);
  if (a.threads > 0) set_num_threads(a.threads);
  ProgressLine line(a.quiet);
  std::error_code error;
  std::filesystem::create_directories(a.out, error);
  check(!error, "demo " + a.out, "the folder cannot be made: ", error.message());
  if (a.data.empty()) {
    line.message("simulating " + std::to_string(a.world.impressions) + " impressions");
    simulate(a.out + "/data", a.world);
  }
  const Dataset data = Dataset::open(a.data.empty() ? a.out + "/data" : a.data);
  check(data.has_truth(), "demo --data " + a.data, "has no truth; give a dataset that `twotower simulate` made");

  std::vector<Rung> ladder;
  for (const std::string& name : a.rungs) {
    ladder.push_back(climb(a, data, name, line));
    if (ladder.size() == 1) {  // the baselines once, for scale
      const Run run = open_run(a.out + "/" + name);
      EvaluateOptions options;
      options.ks = default_ks(data.num_available(), run.bundle.config());
      const EvaluationResult result = evaluate(ServedDataset(run.bundle, run.data), options);
      std::vector<Rung> baselines;
      for (const auto& [baseline, measures] : result.baselines) baselines.push_back({baseline, measures, 0, 0});
      ladder.insert(ladder.begin(), baselines.rbegin(), baselines.rend());
    }
  }
  if (a.json) {
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    for (const Rung& rung : ladder) {
      nlohmann::ordered_json measures;
      for (const auto& [name, value] : rung.measures.all()) measures[name] = value;
      out.push_back(
          {{"model", rung.name}, {"seconds", rung.seconds}, {"best_epoch", rung.best_epoch}, {"measures", measures}});
    }
    std::cout << out.dump() << '\n';
    return;
  }
  std::cout << "The ladder on simulated data: " << data.num_users() << " users, " << data.num_items() << " items, "
            << data.split(Split::train).size << " training impressions.\n"
            << "recall@20: clicks held out; true: against what users really like; agreement: with the main ranker.\n"
            << "Measured on half of the users; the other half picks each model's best epoch, by agreement.\n\n";
  print_ladder(ladder);
  print_recommendations(a.out + "/" + a.rungs.back(), a.rungs.back());
}

}  // namespace

void register_demo(CLI::App& app) {
  auto a = std::make_shared<DemoArguments>();
  CLI::App* command = app.add_subcommand("demo", "Simulates data, trains every rung of the ladder and compares them");
  command->footer("Example: twotower demo --out /tmp/demo");
  command->add_option("--out", a->out, "Folder to write")->capture_default_str();
  command->add_option("--models", a->rungs, "Rungs to train")->delimiter(',');
  command->add_option("--set", a->set, "KEY=VALUE for every rung's config; may be repeated");
  command->add_option("--epochs", a->epochs, "Epochs a rung, over all impressions")
      ->capture_default_str()
      ->check(whole_number(1, 1000000));
  CLI::Option* data = command->add_option("--data", a->data, "Climb on this simulated dataset instead of a new one");
  for (CLI::Option* size : {command->add_option("--users", a->world.users, "Simulated users"),
                            command->add_option("--items", a->world.items, "Simulated items"),
                            command->add_option("--impressions", a->world.impressions, "Simulated impressions")})
    size->capture_default_str()->excludes(data);
  add_seed(*command, a->world.seed, "Random seed");
  add_threads(*command, a->threads);
  command->add_flag("--json", a->json, "Print one JSON object");
  command->add_flag("--quiet", a->quiet, "No progress");
  command->callback([a] { run_demo(*a); });
}

}  // namespace tt
