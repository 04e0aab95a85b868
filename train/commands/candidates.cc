// twotower candidates: the pairs that are worth asking the main ranker about.

#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/data/delimited.h>
#include <twotower/train/fit/ranker_loop.h>
#include <twotower/train/run/run.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <sstream>
#include <unordered_set>

namespace tt {
namespace {

struct Arguments {
  std::string run, data, out, users_file;
  CandidateOptions options;
  std::optional<double> share;
  bool json = false;
  int threads = 0;
};

// Rows of the users to ask about, each once.
std::vector<int64_t> user_rows(const Arguments& a, const Dataset& data) {
  std::vector<int64_t> rows;
  if (a.users_file.empty()) {
    rows.resize(static_cast<size_t>(data.num_users()));
    std::iota(rows.begin(), rows.end(), int64_t{0});
    return rows;
  }
  std::unordered_set<int64_t> known;
  for (const std::string& id : read_user_ids("candidates", a.users_file)) {
    const auto row = data.user_ids().find(id);
    check(row.has_value(), "candidates", a.users_file, ": the dataset has no user \"", id, "\"; leave that line out");
    if (known.insert(*row).second) rows.push_back(*row);
  }
  return rows;
}

// The column `time` says as of when the ranker shall answer; a source without times has none.
void write_csv(const std::string& path, const Dataset& data, const CandidatePairs& candidates) {
  std::ostringstream end;
  end << std::setprecision(std::numeric_limits<double>::max_digits10) << end_of_training(data);
  const std::string time = data.has_times() ? "," + end.str() : "";
  AtomicFile file(path);
  std::string text = data.has_times() ? "user,item,time,source\n" : "user,item,source\n";
  for (size_t i = 0; i < candidates.uniform.size(); ++i) {
    text += csv_field(data.user_ids().text(candidates.pairs.user[i])) + "," +
            csv_field(data.item_ids().text(candidates.pairs.item[i])) + time +
            (candidates.uniform[i] ? ",uniform\n" : ",policy\n");
    if (text.size() < 1 << 20) continue;
    file.write(text.data(), text.size());
    text.clear();
  }
  file.write(text.data(), text.size());
  file.commit();
}

void run_candidates(Arguments& a) {
  check(!a.share || *a.share > 0, "candidates", "--share is ", a.share.value_or(0),
        ", outside (0, 1]; 0.01 is one pair in a hundred");
  a.options.share = a.share.value_or(0);
  if (a.threads > 0) set_num_threads(a.threads);
  const Run run = open_run(a.run, a.data);
  const std::vector<int64_t> users = user_rows(a, run.data);
  const ServedDataset served(run.bundle, run.data);
  const UserItems scored = scored_items(run.data, ranker_pairs_of_run(a.run, run.config, run.data));
  const CandidatePairs candidates = choose_candidates(served, users, scored, a.options);
  const int64_t pairs = candidates.pairs.size();
  check(
      pairs > 0, "candidates",
      "there is nothing to ask about: the ranker's word on every pair of these users is known, or the share asked for "
      "is less than one pair");
  write_csv(a.out, run.data, candidates);
  const int64_t uniform = std::count(candidates.uniform.begin(), candidates.uniform.end(), 1);
  if (a.json) {
    const nlohmann::ordered_json json = {{"candidates", a.out},
                                         {"users", users.size()},
                                         {"pairs", pairs},
                                         {"policy", pairs - uniform},
                                         {"uniform", uniform}};
    std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    return;
  }
  std::cout << a.out << ": " << pairs << " pairs of " << users.size() << " users, " << pairs - uniform
            << " of the policy's own and " << uniform << " drawn uniformly\n"
            << "next: let the main ranker add a column a task (";
  for (size_t t = 0; t < run.data.tasks().size(); ++t) std::cout << (t ? ", " : "") << run.data.tasks()[t];
  std::cout << "), then twotower train --ranker-pairs FILE\n";
}

}  // namespace

void register_candidates(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("candidates", "The pairs that are worth asking the main ranker about");
  command->add_option("--run", a->run, "Run folder, whose model is the policy")->required();
  command->add_option("--data", a->data, "Where its dataset is now (default: where it was)");
  command->add_option("--out", a->out, "The csv to write: user, item, time (as of when to ask), source")->required();
  command->add_option("--users", a->users_file, "A file with a user id a line (default: all users)");
  CLI::Option* per_user = command->add_option("-n", a->options.per_user, "Pairs a user")
                              ->capture_default_str()
                              ->check(whole_number(1, 1000000000));
  command
      ->add_option("--share", a->share,
                   "In place of -n: so large a share of all pairs of the users, spread evenly over them")
      ->excludes(per_user);
  command
      ->add_option("--uniform", a->options.uniform,
                   "Share of a user's pairs that is drawn uniformly; the rest are the items that the towers find best")
      ->capture_default_str();
  add_seed(*command, a->options.seed, "Random seed of the uniform pairs");
  add_threads(*command, a->threads);
  command->add_flag("--json", a->json, "Print one JSON object");
  command->footer(
      "Example: twotower candidates --run R --out pairs.csv -n 100\n"
      "Pairs whose score the training log or the run's --ranker-pairs hold are left out.");
  command->callback([a] { run_candidates(*a); });
}

}  // namespace tt
