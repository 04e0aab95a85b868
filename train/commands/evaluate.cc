// twotower evaluate: full-corpus measures of a run, beside what simple methods give.

#include <twotower/tensor/error.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/baselines/baseline.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/measures_json.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/evaluate/doctor/doctor.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/evaluate/text_table.h>
#include <twotower/train/evaluate/user_groups.h>
#include <twotower/train/run/run.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>

namespace tt {
namespace {

struct Options {
  Options() { evaluate.ks.clear(); }  // until the corpus is known

  std::string run, data, split = "test", by;
  std::vector<std::string> set;
  EvaluateOptions evaluate;
  bool json = false, doctor = false, no_baselines = false, no_intervals = false, no_truth = false, towers = false,
       quiet = false;
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
  if (result.differences.empty()) return out;
  out["differences"] = nlohmann::ordered_json::object();  // the model less the baseline
  for (size_t b = 0; b < result.baselines.size(); ++b)
    for (const Difference& d : result.differences[b])
      out["differences"][result.baselines[b].first][d.name] = {{"mean", d.mean}, {"interval", {d.low, d.high}}};
  return out;
}

std::string with_sign(double x) { return (x < 0 ? "" : "+") + decimals(x); }

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

// A row a baseline: by how much the model is better, at the K nearest to 20.
void print_differences(const EvaluationResult& result, const std::vector<int64_t>& ks) {
  if (result.differences.empty()) return;
  std::vector<int64_t> sorted = ks;
  std::sort(sorted.begin(), sorted.end());
  const auto k = *std::min_element(sorted.begin(), sorted.end(),
                                   [](int64_t a, int64_t b) { return std::abs(a - 20) < std::abs(b - 20); });
  std::cout << "\nthe model less each baseline, with the 95 % interval of the difference, paired over users\n\n";
  TextTable table;
  table.header = {"baseline"};
  for (const char* name : {"recall@", "ndcg@", "hit@"}) table.header.push_back(name + std::to_string(k));
  table.header.push_back("mrr");
  for (size_t b = 0; b < result.baselines.size(); ++b) {
    table.rows.push_back({result.baselines[b].first});
    for (size_t c = 1; c < table.header.size(); ++c) {
      std::string cell = "-";
      for (const Difference& d : result.differences[b])
        if (d.name == table.header[c])
          cell = with_sign(d.mean) + " (" + with_sign(d.low) + " .. " + with_sign(d.high) + ")";
      table.rows.back().push_back(cell);
    }
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
  check(!o.no_baselines || o.evaluate.baseline_names.empty(), "evaluate",
        "--baselines and --no-baselines contradict each other; give one of them");
  for (const std::string& name : o.evaluate.baseline_names)
    if (name != "all") check_baseline_name(name);
  for (const std::string& assignment : o.set) set_baseline_key(o.evaluate.baseline_options, assignment);
  if (!o.quiet && !o.evaluate.baseline_names.empty())
    o.evaluate.note = [](const std::string& line) { std::cerr << line << "\n"; };
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
  print_differences(result, o.evaluate.ks);
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
  command
      ->add_option(
          "--baselines", o->evaluate.baseline_names,
          "What is measured beside the model: any of popularity, recent, itemknn, markov, ease, als, als_ranker "
          "and random, or all that the data can have (default: popularity, recent where the split is later than "
          "train, random)")
      ->delimiter(',');
  command->add_option("--set", o->set, "KEY=VALUE for a baseline, such as ease.l2=300 (docs/evaluate.md has the keys)");
  command->add_flag("--no-baselines", o->no_baselines, "Measure the model alone");
  command->add_flag("--no-intervals", o->no_intervals, "Leave the bootstrap intervals out");
  command->add_flag("--no-truth", o->no_truth, "Leave the main ranker and the simulator's truth out");
  command->add_option("--resamples", o->evaluate.resamples, "Bootstrap resamples")
      ->capture_default_str()
      ->check(whole_number(1, 1000000));
  command->add_option("--by", o->by,
                      "impressions: the measures also by how many of them the training split has of a user");
  command->add_flag("--doctor", o->doctor, "Say in plain words what looks unhealthy, and what to try");
  command->add_flag("--quiet", o->quiet, "No word of what the baselines take");
  command->add_flag("--json", o->json, "One JSON object instead of tables");
  add_seed(*command, o->evaluate.seed, "Of the random baseline and the bootstrap");
  add_threads(*command, o->threads);
  command->footer(
      "Example:\n  twotower evaluate --run runs/base --split test --k 10,20,100 --json\n"
      "  twotower evaluate --run runs/base --baselines popularity,markov,ease");
  command->callback([o] { run_evaluate(*o); });
}

}  // namespace tt
