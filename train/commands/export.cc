// twotower export: the vectors of all items or users, and their ids beside.

#include <twotower/tensor/atomic_file.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/parallel.h>
#include <twotower/tensor/safetensors.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/npy.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/import/newcomers.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

namespace tt {
namespace {

struct Options {
  BundleSource source;
  std::string out, items_from;
  bool items = false, users = false, quiet = false;
  int threads = 0;
};

void run_export(const Options& o) {
  if (o.threads > 0) set_num_threads(o.threads);
  check(o.items != o.users, "export", "give one of --items and --users");
  check(o.items || o.items_from.empty(), "export", "--items-from goes with --items");
  const bool npy = o.out.ends_with(".npy");
  check(npy || o.out.ends_with(".safetensors"), "export", "--out ", o.out,
        ": the name must end in .safetensors or .npy");
  const Bundle bundle = Bundle::open(o.source.path("export"));
  check(o.items || bundle.has_users(), "export", bundle.path(),
        " holds no users (--no-users); give a bundle with them");
  const NewItems new_items = o.items_from.empty() ? NewItems() : read_new_items(o.items_from, bundle);
  if (!o.quiet)
    for (const std::string& note : new_items.notes) std::cerr << "note: " << note << "\n";
  Catalog catalog(bundle);
  if (new_items.size() > 0) catalog.add(bundle.model(), new_items.ids, new_items.features);
  const Recommender recommender(bundle, std::move(catalog));
  Tensor<const float> vectors = recommender.catalog().vectors();
  std::vector<float> of_users;
  if (o.users) {
    std::vector<ServedUser> users;
    for (int64_t u = 0; u < bundle.num_users(); ++u) users.push_back(recommender.known(u));
    of_users.resize(users.size() * static_cast<size_t>(vectors.cols()));
    Session session;
    recommender.encode(session, users, of_users.data());
    vectors = {of_users.data(), {bundle.num_users(), vectors.cols()}};
  }
  const IdTable& table = o.items ? bundle.item_ids() : bundle.user_ids();
  std::string ids;
  for (int64_t i = 0; i < table.size(); ++i) ids.append(table.text(i)) += '\n';
  for (const std::string& id : new_items.ids) ids.append(id) += '\n';

  if (npy) {
    write_npy(o.out, vectors);
  } else {
    SafetensorsWriter writer;
    writer.add(o.items ? "item_embedding" : "user_embedding", vectors.data(), {vectors.rows(), vectors.cols()});
    writer.write(o.out);
  }
  write_file_atomically(o.out + ".ids.txt", ids);
  if (!o.quiet)
    std::cerr << "wrote " << vectors.rows() << " vectors of width " << vectors.cols() << " to " << o.out
              << ", their ids to " << o.out << ".ids.txt\n";
}

}  // namespace

void register_export(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("export", "Write the vectors of all items or users, and their ids beside");
  add_bundle_source(*command, o->source);
  command->add_flag("--items", o->items, "Vectors of the item tower");
  command->add_flag("--users", o->users, "Vectors of the user tower, with all history");
  command->add_option("--items-from", o->items_from,
                      "A file of items the bundle does not have (id and features), to come after the others");
  command->add_option("--out", o->out, "F.safetensors or F.npy; the ids go to F.….ids.txt, a line a row")->required();
  command->add_flag("--quiet", o->quiet, "No messages");
  add_threads(*command, o->threads);
  command->footer("Example:\n  twotower export --run runs/base --items --out items.npy");
  command->callback([o] { run_export(*o); });
}

}  // namespace tt
