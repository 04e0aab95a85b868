// twotower retrieve: the top items of given users, known or new, from a bundle alone.

#include <twotower/models/retrieval/index/stored_index.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/evaluate/text_table.h>
#include <twotower/train/import/newcomers.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace tt {
namespace {

struct Options {
  BundleSource source;
  std::string users_file, users_from, items_from, index;
  std::vector<std::string> users, where;
  int64_t k = 10, candidates = 0;
  bool include_seen = false, only_new = false, towers = false, json = false, quiet = false;
  int threads = 0;
};

std::vector<std::string> user_ids(const Options& o) {
  std::vector<std::string> ids = o.users;
  if (o.users_file.empty()) return ids;
  for (std::string& id : read_user_ids("retrieve", o.users_file)) ids.push_back(std::move(id));
  return ids;
}

void tell(const Options& o, const std::vector<std::string>& notes) {
  if (o.quiet) return;
  for (const std::string& note : notes) std::cerr << "note: " << note << "\n";
}

// Of --where column=value, all of them at once.
Conditions conditions(const Options& o) {
  Conditions out;
  for (const std::string& text : o.where) {
    const size_t equals = text.find('=');
    check(equals != std::string::npos && equals > 0, "retrieve", "--where \"", text,
          "\" is not of the form column=value");
    out.where.push_back({text.substr(0, equals), {text.substr(equals + 1)}});
  }
  return out;
}

void print_user(const Options& o, const std::string& id, const Catalog& catalog, const TopItems& top, int64_t q,
                bool first, nlohmann::ordered_json& json) {
  const auto items = top.items(q);
  const auto scores = top.scores(q);
  if (static_cast<int64_t>(items.size()) < o.k && !o.quiet)
    std::cerr
        << "[retrieve] user \"" << id << "\": only " << items.size() << " of " << o.k
        << " items; what else there is to choose from was seen (--include-seen keeps it) or does not satisfy --where\n";
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  const bool titles = !items.empty() &&
                      std::any_of(items.begin(), items.end(), [&](int64_t row) { return !catalog.title(row).empty(); });
  TextTable table{{"item", "score"}, {}, titles};
  if (titles) table.header.push_back("title");
  for (size_t r = 0; r < items.size(); ++r) {
    const std::string item(catalog.id(items[r])), title(catalog.title(items[r]));
    if (o.json) {
      list.push_back({{"item", item}, {"score", scores[r]}});
      if (!title.empty()) list.back()["title"] = title;
    } else {
      table.rows.push_back({item, decimals(scores[r])});
      if (titles) table.rows.back().push_back(title);
    }
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
  const std::vector<std::string> ids = user_ids(o);
  check(!ids.empty() || !o.users_from.empty(), "retrieve",
        "no user is given; use --user ID, --users FILE with an id a line, or --users-from FILE for new users");
  check(!o.only_new || !o.items_from.empty(), "retrieve", "--only-new needs new items; give --items-from FILE");
  Conditions wanted = conditions(o);
  const Bundle bundle = Bundle::open(o.source.path("retrieve"));
  LiveCatalog items(bundle, index_of(bundle, o.index));
  const NewUsers new_users = o.users_from.empty() ? NewUsers() : read_new_users(o.users_from, bundle);
  const NewItems new_items = o.items_from.empty() ? NewItems() : read_new_items(o.items_from, bundle);
  tell(o, new_users.notes);
  if (!bundle.config().history && std::any_of(new_users.histories.begin(), new_users.histories.end(),
                                              [](const auto& history) { return !history.empty(); }))
    tell(o, {"the model reads no history (--model history does): a user's history only keeps its items from being "
             "returned"});
  tell(o, new_items.notes);
  const std::vector<std::string_view> new_ids(new_items.ids.begin(), new_items.ids.end());
  if (new_items.size() > 0) items.add(new_ids, new_items.features);
  const Catalog catalog = items.snapshot();
  const Recommender recommender(bundle, catalog);
  if (o.only_new) wanted.only = new_items.ids;
  std::optional<Filter> among;
  if (o.only_new || !o.where.empty()) among.emplace(catalog, std::move(wanted));
  const Ask ask{.k = o.k,
                .include_seen = o.include_seen,
                .rerank = !o.towers,
                .candidates = o.candidates,
                .among = among ? &*among : nullptr};
  const int64_t corpus = catalog.count(ask.among);
  check(!o.where.empty() || o.k <= corpus, "retrieve", "k = ", o.k, " is larger than the corpus of ", corpus,
        o.only_new ? " new" : "", " items; ask for at most so many");

  std::vector<ServedUser> users;
  for (const std::string& id : ids) users.push_back(recommender.known(id));
  for (size_t i = 0; i < new_users.ids.size(); ++i) users.push_back(new_users.served(i));
  Session session;
  TopItems top;
  recommender.recommend(session, users, ask, top);
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (size_t q = 0; q < users.size(); ++q)
    print_user(o, q < ids.size() ? ids[q] : new_users.ids[q - ids.size()], catalog, top, static_cast<int64_t>(q),
               q == 0, json);
  if (o.json) std::cout << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void register_retrieve(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("retrieve", "The top items of users, by their original ids or from their features");
  add_bundle_source(*command, o->source);
  command->add_option("--user", o->users, "User ids, as in the imported data");
  command->add_option("--users", o->users_file, "A file with a user id a line");
  command->add_option("--users-from", o->users_from,
                      "A file of users the bundle does not have: id, features by name and, if you like, `history`: "
                      "item ids, newest first");
  command->add_option("--items-from", o->items_from,
                      "A file of items the bundle does not have: id and features by name. They join the corpus");
  command->add_flag("--only-new", o->only_new, "Return nothing but the items of --items-from");
  command->add_option("-k", o->k, "How many items")->capture_default_str()->check(whole_number(1, 1000000000));
  command->add_flag("--include-seen", o->include_seen,
                    "Let items the user was shown before, or has in the history, be returned");
  command->add_option("--where", o->where, "COLUMN=VALUE: only items of this category; may be repeated, all must hold");
  command
      ->add_option("--candidates", o->candidates,
                   "How many of the best by inner product a light ranker puts in order (default: num_mips_items)")
      ->check(whole_number(1, 1000000000));
  command->add_flag("--towers", o->towers, "By inner product alone, a light ranker left out");
  command
      ->add_option(
          "--index", o->index,
          "How items are searched: exact, fp16, int8 or hnsw, built now where the bundle holds another (default: "
          "the bundle's own, see `twotower pack --index`)")
      ->check(CLI::IsMember(index_kinds()));
  command->add_flag("--json", o->json, "A JSON list instead of tables");
  command->add_flag("--quiet", o->quiet, "No messages");
  add_threads(*command, o->threads);
  command->footer(
      "Example:\n  twotower retrieve --run runs/base --user 196 -k 10\n"
      "  twotower retrieve --bundle base.safetensors --users-from guests.csv --items-from new_items.csv -k 10");
  command->callback([o] { run_retrieve(*o); });
}

}  // namespace tt
