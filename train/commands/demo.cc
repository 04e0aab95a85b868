// twotower demo: makes worlds whose truth is known, climbs the ladder in each, and shows what each rung brought.

#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/console.h>
#include <twotower/train/commands/shared/measures_json.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/data/dataset_writer.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/text_table.h>
#include <twotower/train/fit/monitor.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/run/run.h>
#include <twotower/train/simulate/simulator.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>

namespace tt {
namespace {

// Small enough that the whole ladder takes a few minutes.
SimulatorOptions small_world() {
  SimulatorOptions world;
  world.users = 1000, world.items = 500, world.impressions = 50000;
  return world;
}

struct World {
  const char *name, *about;
};
constexpr World kWorlds[] = {
    {"drifting", "interests move, users and items arrive, items end"},
    {"static", "tastes stand still, and all users and items are there all the time"},
};

struct DemoArguments {
  std::string out = "twotower-demo", data, world = "both";
  std::vector<std::string> rungs = rung_names(), set;
  SimulatorOptions simulate = small_world();
  int64_t epochs = 8;  // over all impressions, at most: each model stops when it gets no better
  int threads = 0;
  bool json = false, quiet = false;
};

// What the tables show: a measure, and its heading in two lines.
struct Column {
  const char *measure, *heading, *at;
};
constexpr Column kColumns[] = {
    {"recall@20", "recall", "@20"},
    {"true_recall@20", "true recall", "@20"},
    {"true_ndcg@10", "true NDCG", "@10"},
    {"agreement@20", "agreement", "@20"},
    {"agreement@10:100", "agreement", "10:100"},
    {"funnel_value@10:100", "funnel value", "10:100"},
    {"true_funnel_value@10:100", "true funnel value", "10:100"},
};
constexpr char kLegend[] =
    "recall: clicks held out that are among the 20 returned. true: against what users really like.\n"
    "agreement: the main ranker's own 20 best among the 20 returned, or its 10 best among the 100 returned.\n"
    "funnel value: of the 100 returned the main ranker shows the 10 it values most. What they are worth to it, or "
    "truly,\n"
    "as a share of the best 10 of all. towers alone: without the light ranker that puts what they find in order.\n"
    "Measured on half of the users; the other half picks each model's best epoch: by agreement@20, or for kd,\n"
    "reward and aligned by the scores in its log.\n";

struct Rung {
  std::string name;
  Measures measures;
  std::optional<Measures> towers = {};  // alone, where a light ranker serves
  double seconds = 0;
  int64_t best_epoch = 0;  // 0 for a baseline
};

// The rungs trained on one dataset, after the baselines.
struct Ladder {
  std::string folder;     // of the runs
  const World* world;     // null: a dataset that was given
  std::string data_size;  // in words
  std::vector<Rung> rungs;
};

// The demo's own settings of a rung, and on top of them what --set says.
RunConfig rung_config(const DemoArguments& a, const std::string& name, int64_t epochs) {
  RunConfig config;
  apply_rung(config, name);
  if (!config.model.needs_lists()) config.train.epochs = epochs;
  config.train.seed = static_cast<int64_t>(a.simulate.seed);
  for (const std::string& assignment : a.set) set_config_key(config, assignment);
  config.train.validate();
  return config;
}

RunConfig fitted_config(const DemoArguments& a, const std::string& name, const Dataset& data) {
  RunConfig config = rung_config(a, name, a.epochs);
  fit_config_to_data(config.model, data);
  // As many examples for the rungs that learn from impressions with value only.
  const int64_t rows = Loader(data, config.model, config.train).rows();
  config = rung_config(a, name, a.epochs * data.split(Split::train).size / rows);
  fit_config_to_data(config.model, data);
  config.data = data.dir();
  // The rungs that know nothing of the ranker would stop early by the clicks, which follow the slots.
  if (config.train.monitor == "auto" && !config.model.needs_lists())
    config.train.monitor = "agreement@" + std::to_string(monitored_k(default_ks(data.num_available(), config.model)));
  return config;
}

EvaluationResult measure(const ServedDataset& served, EvaluateOptions options) {
  options.ks = default_ks(served.recommender().most(options.ask()));
  return evaluate(served, options);
}

// Trains a rung and measures it; the first one's evaluation has the baselines, too, for scale.
void climb(const DemoArguments& a, const Dataset& data, const std::string& name, ProgressLine& line, Ladder& ladder) {
  TrainOptions options;
  options.progress = [&](const TrainProgress& p) { line.show(p); };
  line.message("training " + name);
  const std::string run_dir = ladder.folder + "/" + name;
  const TrainSummary summary = train(fitted_config(a, name, data), data, run_dir, options);

  const Bundle bundle = Bundle::open(bundle_of_run(run_dir));
  const ServedDataset served(bundle, data);
  const EvaluationResult result = measure(served, {.baselines = ladder.rungs.empty()});
  for (auto baseline = result.baselines.rbegin(); baseline != result.baselines.rend(); ++baseline)
    ladder.rungs.push_back({.name = baseline->first, .measures = baseline->second});
  Rung rung = {.name = name, .measures = result.measures, .seconds = summary.seconds, .best_epoch = summary.best_epoch};
  if (served.has_light_ranker()) rung.towers = measure(served, {.baselines = false, .rerank = false}).measures;
  ladder.rungs.push_back(std::move(rung));
}

Ladder climb_all(const DemoArguments& a, const std::string& folder, const World* world, const std::string& dataset,
                 ProgressLine& line) {
  const Dataset data = Dataset::open(dataset);
  check(data.has_truth(), "demo --data " + dataset, "has no truth; give a dataset that `twotower simulate` made");
  std::ostringstream size;
  size << data.num_users() << " users, " << data.num_items() << " items";
  if (data.available()) size << " (" << data.num_available() << " on offer)";
  size << ", " << data.split(Split::train).size << " training impressions";
  Ladder ladder = {folder, world, size.str(), {}};
  for (const std::string& name : a.rungs) climb(a, data, name, line, ladder);
  return ladder;
}

// The ladder in each world asked for. What can be refused is, before anything is written.
std::vector<Ladder> climb_worlds(const DemoArguments& a, ProgressLine& line) {
  std::vector<const World*> worlds;
  for (const World& world : kWorlds)
    if (a.world == "both" || a.world == world.name) worlds.push_back(&world);
  check(!worlds.empty(), "demo", "--world \"", a.world, "\" is unknown; choose both, drifting or static");
  const auto folder = [&](const World* world) { return a.out + "/" + world->name; };
  check_options(a.simulate);
  for (const World* world : worlds) check_dataset_target(folder(world) + "/data");
  std::vector<Ladder> ladders;
  for (const World* world : worlds) {
    line.message("simulating the " + std::string(world->name) + " world, " + std::to_string(a.simulate.impressions) +
                 " impressions");
    SimulatorOptions options = a.simulate;
    options.world = world->name;
    simulate(folder(world) + "/data", options);
    ladders.push_back(climb_all(a, folder(world), world, folder(world) + "/data", line));
  }
  return ladders;
}

void print_json(const std::vector<Ladder>& ladders) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const Ladder& ladder : ladders)
    for (const Rung& rung : ladder.rungs) {
      nlohmann::ordered_json row;
      if (ladder.world) row["world"] = ladder.world->name;
      row["model"] = rung.name, row["seconds"] = rung.seconds, row["best_epoch"] = rung.best_epoch;
      row["measures"] = to_json(rung.measures);
      if (rung.towers) row["towers_alone"] = to_json(*rung.towers);
      out.push_back(row);
    }
  std::cout << out.dump() << '\n';
}

void print_table(const Ladder& ladder) {
  if (ladder.world) std::cout << "\nThe " << ladder.world->name << " world: " << ladder.world->about << ".";
  std::cout << "\n" << ladder.data_size << "\n\n";
  TextTable table;
  table.header = {""}, table.rows = {{"model"}};
  for (const Column& c : kColumns) table.header.push_back(c.heading), table.rows[0].push_back(c.at);
  table.rows[0].push_back("seconds");
  const auto add = [&](const std::string& name, const Measures& measures, double seconds) {
    table.rows.push_back({name});
    for (const Column& c : kColumns)
      table.rows.back().push_back(measures.has(c.measure) ? decimals(measures[c.measure]) : "-");
    table.rows.back().push_back(seconds > 0 ? decimals(seconds, 1) : "-");
  };
  for (const Rung& rung : ladder.rungs) {
    add(rung.name, rung.measures, rung.seconds);
    if (rung.towers) add(rung.name + ", towers alone", *rung.towers, 0);
  }
  table.print(std::cout);
}

void print_recommendations(const Ladder& ladder) {
  const std::string& rung = ladder.rungs.back().name;
  const Bundle bundle = Bundle::open(bundle_of_run(ladder.folder + "/" + rung));
  const Recommender recommender(bundle);
  Session session;
  TopItems top;
  const std::string user(bundle.user_ids().text(0));
  recommender.recommend(session, user, {.k = 10}, top);
  std::cout << "\n10 items for user " << user << " from " << rung;
  if (ladder.world) std::cout << " in the " << ladder.world->name << " world";
  std::cout << "\n";
  TextTable table;
  table.header = {"item", "score"};
  for (size_t j = 0; j < top.items(0).size(); ++j)
    table.rows.push_back(
        {std::string(session.catalog().id(top.items(0)[j])), decimals(static_cast<double>(top.scores(0)[j]))});
  table.print(std::cout);
}

void run_demo(const DemoArguments& a) {
  for (const std::string& rung : a.rungs) rung_config(a, rung, a.epochs);  // a mistake shows before anything is written
  if (a.threads > 0) set_num_threads(a.threads);
  ProgressLine line(a.quiet);
  const std::vector<Ladder> ladders =
      a.data.empty() ? climb_worlds(a, line) : std::vector{climb_all(a, a.out, nullptr, a.data, line)};
  if (a.json) return print_json(ladders);
  std::cout << kLegend;
  for (const Ladder& ladder : ladders) print_table(ladder);
  print_recommendations(ladders.front());
}

}  // namespace

void register_demo(CLI::App& app) {
  auto a = std::make_shared<DemoArguments>();
  CLI::App* command =
      app.add_subcommand("demo", "Simulates two worlds, trains every rung of the ladder in each and compares them");
  command->footer("Example: twotower demo --out /tmp/demo");
  command->add_option("--out", a->out, "Folder to write")->capture_default_str();
  command->add_option("--models", a->rungs, "Rungs to train")->delimiter(',');
  command->add_option("--set", a->set, "KEY=VALUE for every rung's config; may be repeated");
  command->add_option("--epochs", a->epochs, "Epochs a rung, over all impressions")
      ->capture_default_str()
      ->check(whole_number(1, 1000000));
  CLI::Option* data = command->add_option("--data", a->data, "Climb on this simulated dataset instead of a new one");
  for (CLI::Option* option : {command->add_option("--world", a->world, "drifting, static, or both (docs/worlds.md)"),
                              command->add_option("--users", a->simulate.users, "Simulated users"),
                              command->add_option("--items", a->simulate.items, "Simulated items"),
                              command->add_option("--impressions", a->simulate.impressions, "Simulated impressions")})
    option->capture_default_str()->excludes(data);
  add_seed(*command, a->simulate.seed, "Random seed");
  add_threads(*command, a->threads);
  command->add_flag("--json", a->json, "Print a JSON array, a row a model, instead of tables");
  command->add_flag("--quiet", a->quiet, "No progress");
  command->callback([a] { run_demo(*a); });
}

}  // namespace tt
