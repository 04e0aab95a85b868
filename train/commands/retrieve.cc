// twotower retrieve: the top items of given users.

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/parallel.h"
#include "train/commands/commands.h"
#include "train/run.h"
#include "train/serving.h"
#include "train/text_table.h"

namespace tt {
namespace {

struct Options {
  std::string run, data, users_file, index = "exact";
  std::vector<std::string> users;
  int64_t k = 10;
  bool include_seen = false, json = false, quiet = false;
  int threads = 0;
};

std::vector<std::string> user_ids(const Options& o) {
  std::vector<std::string> ids = o.users;
  if (!o.users_file.empty()) {
    std::ifstream file(o.users_file);
    check(file.is_open(), "retrieve", "cannot read ", o.users_file, "; give a file with a user id a line");
    for (std::string line; std::getline(file, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (!line.empty()) ids.push_back(line);
    }
  }
  check(!ids.empty(), "retrieve", "no user is given; use --user ID or --users FILE with an id a line");
  return ids;
}

void run_retrieve(const Options& o) {
  if (o.threads > 0) set_num_threads(o.threads);
  check(o.index == "exact", "retrieve", "--index ", o.index, " is not built yet; use --index exact");
  const std::vector<std::string> ids = user_ids(o);
  const Run run = open_run(o.run, o.data);
  const Dataset& data = run.data;
  check(o.k <= data.num_items(), "retrieve", "k = ", o.k, " is larger than the corpus of ", data.num_items(),
        " items; ask for at most so many");
  std::vector<UserMoment> users;
  for (const std::string& id : ids) {
    const auto row = data.user_ids().find(id);
    check(row.has_value(), "retrieve", "there is no user \"", id, "\" in ", data.dir(),
          "; give an id as it stands in the imported data, such as \"", data.user_ids().text(0), "\"");
    users.push_back(latest_moment(data, *row));
  }

  Retriever retriever(*run.model, data);
  const UserItems seen = o.include_seen ? UserItems() : seen_in_all(data);
  TopItems top;
  retriever.retrieve(users, o.k, top, o.include_seen ? nullptr : &seen);

  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (int64_t q = 0; q < top.queries(); ++q) {
    const std::string& id = ids[static_cast<size_t>(q)];
    const auto items = top.items(q);
    const auto scores = top.scores(q);
    if (static_cast<int64_t>(items.size()) < o.k && !o.quiet)
      std::cerr << "[retrieve] user \"" << id << "\": only " << items.size() << " of " << o.k
                << " items, the rest of the corpus was seen; --include-seen keeps it\n";
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    TextTable table{{"item", "score"}, {}, false};
    for (size_t r = 0; r < items.size(); ++r) {
      const std::string item(data.item_ids().text(items[r]));
      if (o.json) list.push_back({{"item", item}, {"score", scores[r]}});
      else table.rows.push_back({item, decimals(scores[r])});
    }
    if (o.json) {
      json.push_back({{"user", id}, {"items", list}});
    } else {
      std::cout << (q ? "\n" : "") << "user " << id << "\n";
      table.print(std::cout);
    }
  }
  if (o.json) std::cout << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void register_retrieve(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("retrieve", "The top items of given users, by their original ids");
  command->add_option("--run", o->run, "The run folder")->required();
  command->add_option("--data", o->data, "Another dataset folder than the run's own");
  command->add_option("--user", o->users, "User ids, as in the imported data");
  command->add_option("--users", o->users_file, "A file with a user id a line");
  command->add_option("-k", o->k, "How many items")->capture_default_str();
  command->add_flag("--include-seen", o->include_seen, "Let items the user was shown before be returned");
  command->add_option("--index", o->index, "exact (int8 and hnsw are to come)")->capture_default_str();
  command->add_flag("--json", o->json, "A JSON list instead of tables");
  command->add_flag("--quiet", o->quiet, "No messages");
  command->add_option("--threads", o->threads, "Threads to use");
  command->footer("Example:\n  twotower retrieve --run runs/base --user 196 -k 10");
  command->callback([o] { run_retrieve(*o); });
}

}  // namespace tt
