// twotower retrieve: the top items of given users, of the dataset or new.

#include <twotower/tensor/error.h>
#include <twotower/tensor/parallel.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/options.h>
#include <twotower/train/evaluate/serving.h>
#include <twotower/train/evaluate/text_table.h>
#include <twotower/train/fit/run.h>
#include <twotower/train/import/newcomers.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace tt {
namespace {

struct Options {
  std::string run, data, users_file, users_from, items_from, index = "exact";
  std::vector<std::string> users;
  int64_t k = 10;
  bool include_seen = false, only_new = false, json = false, quiet = false;
  int threads = 0;
};

std::vector<std::string> user_ids(const Options& o) {
  std::vector<std::string> ids = o.users;
  if (!o.users_file.empty()) {
    std::ifstream file(o.users_file);
    std::error_code ignored;
    check(file.is_open() && !std::filesystem::is_directory(o.users_file, ignored), "retrieve", "cannot read ",
          o.users_file, "; give a file with a user id a line");
    bool first = true;
    for (std::string line; std::getline(file, line); first = false) {
      if (first && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (!line.empty()) ids.push_back(line);
    }
    check(!ids.empty(), "retrieve", o.users_file, " holds no user; give a file with a user id a line");
  }
  return ids;
}

void tell(const Options& o, const std::vector<std::string>& notes) {
  if (o.quiet) return;
  for (const std::string& note : notes) std::cerr << "note: " << note << "\n";
}

void print_user(const Options& o, const std::string& id, const TopItems& top, int64_t q,
                const std::function<std::string(int64_t)>& item_name, bool first, nlohmann::ordered_json& json) {
  const auto items = top.items(q);
  const auto scores = top.scores(q);
  if (static_cast<int64_t>(items.size()) < o.k && !o.quiet)
    std::cerr << "[retrieve] user \"" << id << "\": only " << items.size() << " of " << o.k
              << " items, the rest of the corpus was seen; --include-seen keeps it\n";
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  TextTable table{{"item", "score"}, {}, false};
  for (size_t r = 0; r < items.size(); ++r) {
    if (o.json)
      list.push_back({{"item", item_name(items[r])}, {"score", scores[r]}});
    else
      table.rows.push_back({item_name(items[r]), decimals(scores[r])});
  }
  if (o.json) {
    json.push_back({{"user", id}, {"items", list}});
  } else {
    std::cout << (first ? "" : "\n") << "user " << id << "\n";
    table.print(std::cout);
  }
}

void run_retrieve(const Options& o) {
  if (o.threads > 0) set_num_threads(o.threads);
  check(o.index == "exact", "retrieve", "--index ", o.index, " is not built yet; use --index exact");
  const std::vector<std::string> ids = user_ids(o);
  check(!ids.empty() || !o.users_from.empty(), "retrieve",
        "no user is given; use --user ID, --users FILE with an id a line, or --users-from FILE for new users");
  check(!o.only_new || !o.items_from.empty(), "retrieve", "--only-new needs new items; give --items-from FILE");
  const Run run = open_run(o.run, o.data);
  const Dataset& data = run.data;
  std::vector<UserMoment> users;
  for (const std::string& id : ids) {
    const auto row = data.user_ids().find(id);
    check(row.has_value(), "retrieve", "there is no user \"", id, "\" in ", data.dir(),
          "; give an id as it stands in the imported data, such as \"", data.user_ids().text(0),
          "\", or describe a new user in a file for --users-from");
    users.push_back(latest_moment(data, *row));
  }
  const NewUsers new_users = o.users_from.empty() ? NewUsers() : read_new_users(o.users_from, data);
  const NewItems new_items = o.items_from.empty() ? NewItems() : read_new_items(o.items_from, data);
  tell(o, new_users.notes);
  if (!run.config.model.history &&
      std::any_of(new_users.users.begin(), new_users.users.end(), [](const NewUser& u) { return !u.history.empty(); }))
    tell(o, {"the model reads no history (--model history does): a user's history only keeps its items from being "
             "returned"});
  tell(o, new_items.notes);

  Retriever retriever(*run.model, data);
  if (new_items.size() > 0) retriever.add_items(new_items.features);
  if (o.only_new) retriever.serve_only_added(true);
  check(o.k <= retriever.index().size(), "retrieve", "k = ", o.k, " is larger than the corpus of ",
        retriever.index().size(), o.only_new ? " new" : "", " items; ask for at most so many");

  const auto item_name = [&](int64_t row) {
    return row < data.num_items() ? std::string(data.item_ids().text(row))
                                  : new_items.ids[static_cast<size_t>(row - data.num_items())];
  };
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  const UserItems seen = o.include_seen ? UserItems() : seen_in_all(data);
  TopItems top;
  retriever.retrieve(users, o.k, top, o.include_seen ? nullptr : &seen);
  for (size_t q = 0; q < ids.size(); ++q) print_user(o, ids[q], top, static_cast<int64_t>(q), item_name, q == 0, json);
  retriever.retrieve(new_users.users, o.k, top, o.include_seen);
  for (size_t q = 0; q < new_users.ids.size(); ++q)
    print_user(o, new_users.ids[q], top, static_cast<int64_t>(q), item_name, ids.empty() && q == 0, json);
  if (o.json) std::cout << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void register_retrieve(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("retrieve", "The top items of users, by their original ids or from their features");
  command->add_option("--run", o->run, "The run folder")->required();
  command->add_option("--data", o->data, "Another dataset folder than the run's own");
  command->add_option("--user", o->users, "User ids, as in the imported data");
  command->add_option("--users", o->users_file, "A file with a user id a line");
  command->add_option("--users-from", o->users_from,
                      "A file of users the data does not have: id, features by name and, if you like, `history`: "
                      "item ids, newest first");
  command->add_option("--items-from", o->items_from,
                      "A file of items the data does not have: id and features by name. They join the corpus");
  command->add_flag("--only-new", o->only_new, "Return nothing but the items of --items-from");
  command->add_option("-k", o->k, "How many items")->capture_default_str()->check(whole_number(1, 1000000000));
  command->add_flag("--include-seen", o->include_seen,
                    "Let items the user was shown before, or has in the history, be returned");
  command->add_option("--index", o->index, "exact (int8 and hnsw are to come)")->capture_default_str();
  command->add_flag("--json", o->json, "A JSON list instead of tables");
  command->add_flag("--quiet", o->quiet, "No messages");
  add_threads(*command, o->threads);
  command->footer(
      "Example:\n  twotower retrieve --run runs/base --user 196 -k 10\n"
      "  twotower retrieve --run runs/base --users-from guests.csv --items-from new_items.csv -k 10");
  command->callback([o] { run_retrieve(*o); });
}

}  // namespace tt
