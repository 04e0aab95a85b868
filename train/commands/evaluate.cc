// twotower evaluate: full-corpus measures of a run, beside popularity and random.

#include <twotower/tensor/error.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/measures_json.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/evaluate/doctor.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/text_table.h>
#include <twotower/train/evaluate/user_groups.h>
#include <twotower/train/run/run.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <iostream>
#include <memory>

namespace tt {
namespace {

struct Options {
  Options() { evaluate.ks.clear(); }  // until the corpus is known

  std::string run, data, split = "test", by;
  EvaluateOptions evaluate;
  bool json = false, doctor = false, no_baselines = false, no_intervals = false, no_truth = false, towers = false;
  int threads = 0;
};

nlohmann::ordered_json to_json(const EvaluationResult& result) {
  nlohmann::ordered_json out;
  out["protocol"] = result.protocol;
  out["users"] = result.users;
  out["measures"] = to_json(result.measures);
  out["intervals"] = nlohmann::ordered_json::object();
  for (const Interval& i : result.intervals) out["intervals"][i.name] = {i.low, i.high};
  out["baselines"] = nlohmann::ordered_json::object();
  for (const auto& [name, measures] : result.baselines) out["baselines"][name] = to_json(measures);
  return out;
}

void print_table(const EvaluationResult& result) {
  std::cout << result.protocol << "\n\n";
  TextTable table;
  table.header = {"measure", "model"};
  if (!result.intervals.empty()) table.header.push_back("95 % interval");
  for (const auto& [name, measures] : result.baselines) table.header.push_back(name);
  for (const auto& [name, value] : result.measures.all()) {
    std::vector<std::string> row = {name, decimals(value)};
    if (!result.intervals.empty()) {
      std::string interval = "-";
      for (const Interval& i : result.intervals)
        if (i.name == name) interval = decimals(i.low) + " .. " + decimals(i.high);
      row.push_back(interval);
    }
    for (const auto& [baseline, measures] : result.baselines)
      row.push_back(measures.has(name) ? decimals(measures[name]) : "-");
    table.rows.push_back(row);
  }
  table.print(std::cout);
}

// A column a group.
void print_groups(const std::vector<UserGroup>& groups, const EvaluationResult& result) {
  std::cout << "\nby the number of impressions that the training split has of a user\n\n";
  TextTable table;
  table.header = {"impressions"};
  table.rows = {{"users"}};
  for (const UserGroup& group : groups) {
    table.header.push_back(group.impressions);
    table.rows[0].push_back(std::to_string(group.users));
  }
  for (const std::string& name : result.per_user_names) {
    if (!result.measures.has(name)) continue;
    table.rows.push_back({name});
    for (const UserGroup& group : groups)
      table.rows.back().push_back(group.measures.has(name) ? decimals(group.measures[name]) : "-");
  }
  table.print(std::cout);
}

void run_evaluate(Options& o) {
  if (o.threads > 0) set_num_threads(o.threads);
  check(o.by.empty() || o.by == "impressions", "evaluate", "--by ", o.by,
        ": users are told apart by \"impressions\" alone");
  o.evaluate.split = split_from_name(o.split);
  o.evaluate.baselines = !o.no_baselines;
  o.evaluate.intervals = !o.no_intervals;
  o.evaluate.truth = !o.no_truth;
  o.evaluate.rerank = !o.towers;
  const Run run = open_run(o.run, o.data);
  const ServedDataset served(run.bundle, run.data);
  if (o.evaluate.ks.empty()) o.evaluate.ks = default_ks(served.recommender().most(o.evaluate.ask()));
  const Evaluator evaluator(run.data, o.evaluate);
  const EvaluationResult result = evaluator.run(served);
  const std::vector<UserGroup> groups = o.by.empty() ? std::vector<UserGroup>() : by_impressions(run.data, result);
  const std::vector<Finding> findings = o.doctor ? examine(served, result, o.evaluate) : std::vector<Finding>();
  if (o.json) {
    nlohmann::ordered_json out = to_json(result);
    if (!o.by.empty()) {
      out["groups"] = nlohmann::ordered_json::array();
      for (const UserGroup& group : groups)
        out["groups"].push_back(
            {{"impressions", group.impressions}, {"users", group.users}, {"measures", to_json(group.measures)}});
    }
    if (o.doctor) {
      out["doctor"] = nlohmann::ordered_json::array();
      for (const Finding& f : findings)
        out["doctor"].push_back({{"what", f.what}, {"found", f.found}, {"healthy", f.healthy}, {"advice", f.advice}});
    }
    std::cout << out.dump(2) << "\n";
    return;
  }
  print_table(result);
  if (!o.by.empty()) print_groups(groups, result);
  if (o.doctor) {
    std::cout << "\ndoctor\n";
    for (const Finding& f : findings) {
      std::cout << (f.healthy ? "  ok    " : "  look  ") << f.what << ": " << f.found << "\n";
      if (!f.advice.empty()) std::cout << "        try: " << f.advice << "\n";
    }
  }
}

}  // namespace

void register_evaluate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("evaluate", "Measure a run over the full corpus, beside the baselines");
  command->add_option("--run", o->run, "The run folder")->required();
  command->add_option("--data", o->data,
                      "Where the run's dataset is now, or one of the same users, items and features with another log");
  command->add_option("--split", o->split, "test, valid, or train (what it was fitted to)")->capture_default_str();
  command
      ->add_option("--k", o->evaluate.ks,
                   "How many items are returned: one or more K (default: those of 10,20,100 that the corpus has)")
      ->delimiter(',')
      ->check(whole_number(1, 1000000000));
  command
      ->add_option("--candidates", o->evaluate.candidates,
                   "How many of the best by inner product a light ranker puts in order (default: num_mips_items)")
      ->check(whole_number(1, 1000000000));
  command->add_flag("--towers", o->towers, "Measure the towers alone: by inner product, a light ranker left out");
  command->add_flag("--include-seen", o->evaluate.include_seen, "Let items of the splits before be returned");
  command->add_flag("--no-baselines", o->no_baselines, "Leave popularity and random out");
  command->add_flag("--no-intervals", o->no_intervals, "Leave the bootstrap intervals out");
  command->add_flag("--no-truth", o->no_truth, "Leave the main ranker and the simulator's truth out");
  command->add_option("--resamples", o->evaluate.resamples, "Bootstrap resamples")
      ->capture_default_str()
      ->check(whole_number(1, 1000000));
  command->add_option("--by", o->by,
                      "impressions: the measures also by how many of them the training split has of a user");
  command->add_flag("--doctor", o->doctor, "Say in plain words what looks unhealthy, and what to try");
  command->add_flag("--json", o->json, "One JSON object instead of tables");
  add_seed(*command, o->evaluate.seed, "Of the random baseline and the bootstrap");
  add_threads(*command, o->threads);
  command->footer("Example:\n  twotower evaluate --run runs/base --split test --k 10,20,100 --json");
  command->callback([o] { run_evaluate(*o); });
}

}  // namespace tt
