// twotower export: vectors of all items or users with their ids, and the user tower as ONNX, for other programs.

#include <twotower/models/bundle/bundle.h>
#include <twotower/models/retrieval/live_catalog.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/export/onnx_tower.h>
#include <twotower/train/export/vector_file.h>
#include <twotower/train/import/newcomers.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace tt {
namespace {

struct Options {
  BundleSource source;
  std::string out, format, onnx, items_from;
  bool items = false, users = false, quiet = false;
  int threads = 0;
};

// What a filter or a page of results asks for beside the id: `,"genre":["Drama"],"title":"Alien"`.
std::string payload_of(const Bundle& bundle, int64_t item) {
  std::string text;
  const auto add = [&](const std::string& name, const nlohmann::json& value) {
    const auto dump = [](const nlohmann::json& of) {
      return of.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    (text += "," + dump(name)) += ":" + dump(value);
  };
  for (const Category& category : bundle.categories()) {
    std::vector<std::string> values;
    for (const int32_t code : category.of(item)) values.emplace_back(category.values.text(code));
    if (category.name == "item" || category.name == "embedding") continue;  // these names are taken
    if (&category != bundle.title())
      add(category.name, values);
    else if (!values.empty())
      add(category.name, values[0]);
  }
  if (!bundle.available_items().empty()) add("available", bundle.available_items()[static_cast<size_t>(item)] != 0);
  return text;
}

// What is exported may be all that there is of the model.
void check_other_file(const std::string& out, const Bundle& bundle) {
  std::error_code none;
  check(!std::filesystem::equivalent(out, bundle.path(), none), "export", out,
        " is the bundle that is exported, which would be lost; choose another name");
}

void export_vectors(const Options& o, const Bundle& bundle) {
  check_other_file(o.out, bundle);
  const std::string format = o.format.empty() ? vector_format_of(o.out) : o.format;
  if (has_id_file(format)) check_other_file(o.out + ".ids.txt", bundle);
  check(o.items || bundle.has_users(), "export", bundle.path(),
        " holds no users (--no-users); give a bundle with them");
  const NewItems new_items = o.items_from.empty() ? NewItems() : read_new_items(o.items_from, bundle);
  if (!o.quiet)
    for (const std::string& note : new_items.notes) std::cerr << "note: " << note << "\n";
  LiveCatalog items(bundle);
  if (new_items.size() > 0)
    items.add(std::vector<std::string_view>(new_items.ids.begin(), new_items.ids.end()), new_items.features);
  const Catalog catalog = items.snapshot();
  NamedVectors named;
  named.name = o.items ? "item_embedding" : "user_embedding";
  named.id_name = o.items ? "item" : "user";
  named.origins = {{"fingerprint.weights", bundle.weights_fingerprint()}};
  std::vector<float> vectors;
  if (o.users) {
    const Recommender recommender(bundle);
    std::vector<ServedUser> users;
    for (int64_t u = 0; u < bundle.num_users(); ++u) {
      users.push_back(recommender.known(u));
      named.ids.push_back(bundle.user_ids().text(u));
    }
    vectors.resize(users.size() * static_cast<size_t>(catalog.width()));
    Session session;
    recommender.encode(session, users, vectors.data());
  } else {
    vectors.reserve(static_cast<size_t>(catalog.size() * catalog.width()));
    const bool with_payload = format == "jsonl" || format == "opensearch";
    for (int64_t row = 0; row < catalog.rows(); ++row) {
      if (!catalog.contains(row)) continue;
      named.ids.push_back(catalog.id(row));
      vectors.insert(vectors.end(), catalog.vector(row), catalog.vector(row) + catalog.width());
      if (with_payload) named.payload.push_back(row < catalog.base_size() ? payload_of(bundle, row) : std::string());
    }
  }
  named.vectors = {vectors.data(), {static_cast<int64_t>(named.ids.size()), catalog.width()}};
  write_vectors(o.out, format, named);
  if (o.quiet) return;
  std::cerr << "wrote " << named.vectors.rows() << " vectors of width " << named.vectors.cols() << " to " << o.out
            << (has_id_file(format) ? ", their ids to " + o.out + ".ids.txt" : "") << "\n";
}

void run_export(const Options& o) {
  if (o.threads > 0) set_num_threads(o.threads);
  check(o.items + o.users + !o.onnx.empty() == 1, "export", "give one of --items, --users and --onnx");
  check(o.items || o.items_from.empty(), "export", "--items-from goes with --items");
  check(o.onnx.empty() || (o.out.empty() && o.format.empty()), "export",
        "--onnx FILE says where the tower goes; leave --out and --format out");
  check(!o.onnx.empty() || !o.out.empty(), "export", "give the file to write with --out");
  if (o.onnx.empty() && o.format.empty()) vector_format_of(o.out);  // before anything is read
  const Bundle bundle = Bundle::open(o.source.path("export"));
  if (o.onnx.empty()) {
    export_vectors(o, bundle);
  } else {
    check_other_file(o.onnx, bundle);
    write_user_tower(o.onnx, bundle);
    if (!o.quiet) std::cerr << "wrote the user tower to " << o.onnx << "\n";
  }
  if (!o.quiet && bundle.config().light_ranker)
    std::cerr << "note: this model's light ranker puts candidates in order, which no inner product can say; vectors "
                 "find the candidates, `twotower retrieve` also orders them\n";
}

}  // namespace

void register_export(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("export", "Write vectors with their ids, or the user tower as ONNX");
  add_bundle_source(*command, o->source);
  command->add_flag("--items", o->items, "Vectors of the item tower");
  command->add_flag("--users", o->users, "Vectors of the user tower, with all history");
  command->add_option("--onnx", o->onnx,
                      "The file to write the user tower to: ids, features and history in, vector out");
  command->add_option("--items-from", o->items_from,
                      "A file of items the bundle does not have (id and features), to come after the others");
  command->add_option("--out", o->out,
                      "F.npy or F.fbin, with the ids in F.….ids.txt, a line a row; F.safetensors, F.jsonl (Qdrant) or "
                      "F.csv (pgvector), with the ids in it");
  command
      ->add_option("--format", o->format,
                   "What to write, whatever the name ends in; opensearch (its bulk requests) goes by no name")
      ->check(CLI::IsMember(vector_formats()));
  command->add_flag("--quiet", o->quiet, "No messages");
  add_threads(*command, o->threads);
  command->footer(
      "Example:\n  twotower export --run runs/base --items --out items.npy\n"
      "  twotower export --run runs/base --items --format opensearch --out items.bulk\n"
      "  twotower export --run runs/base --onnx user_tower.onnx");
  command->callback([o] { run_export(*o); });
}

}  // namespace tt
