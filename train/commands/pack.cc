// twotower pack: a run's bundle anew, with or without its users, its tables in 32, 16 or 8 bits, with an index.

#include <twotower/models/retrieval/index/stored_index.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/evaluate/text_table.h>
#include <twotower/train/run/run.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>

namespace tt {
namespace {

struct Options {
  std::string run, data, out, tables = "float", index = "exact";
  int64_t index_links = HnswOptions().links, index_ef_construction = HnswOptions().ef_construction;
  double index_recall = HnswOptions().recall;
  bool no_users = false, quiet = false;
  int threads = 0;
};

// The share of the k best items by inner product that a packed bundle finds as well, over a sample of the users of the
// whole one. Where the packed bundle has no users, both are asked of them without their ids.
double recall_of(const Bundle& packed, const Bundle& whole, int64_t k) {
  constexpr int64_t kSample = 500;
  const Recommender asked(packed), truth(whole);
  const int64_t users = std::min(kSample, whole.num_users());
  std::vector<ServedUser> sample;
  for (int64_t i = 0; i < users; ++i) {
    sample.push_back(truth.known(i * whole.num_users() / users));
    if (!packed.has_users()) sample.back().row = -1;
  }
  const Ask ask{.k = k, .include_seen = true, .rerank = false};
  Session session;
  TopItems found, best;
  asked.recommend(session, sample, ask, found);
  truth.recommend(session, sample, ask, best);
  return share_found(found, best);
}

void print_recall(const Options& o, const Bundle& packed) {
  const TemporaryFile whole(o.out);
  pack_run(o.run, o.data, whole.path(), true);
  const Bundle bundle = Bundle::open(whole.path());
  const int64_t k = std::min<int64_t>(100, bundle.num_items());
  const auto size = [](const std::string& path) { return static_cast<double>(std::filesystem::file_size(path)); };
  std::cerr << "recall@" << k << " of the same model in floats: " << recall_of(packed, bundle, k) << "; "
            << 100 * size(o.out) / size(whole.path()) << " % of its size" << (o.no_users ? " with users" : "") << "\n";
}

// Over the vectors as a reader has them, packed or not.
void pack_with_index(const Options& o, TableType tables) {
  const TemporaryFile plain(o.out);
  pack_run(o.run, o.data, plain.path(), !o.no_users, tables);
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  HnswOptions options{o.index_links, o.index_ef_construction, o.index_recall, {}};
  double told = 0;
  if (!o.quiet)
    options.progress = [&](int64_t done, int64_t all) {
      if (seconds() < told + 15) return;
      told = seconds();
      std::cerr << "index " << o.index << ": " << done << " of " << all << " items, about "
                << decimals(told * static_cast<double>(all - done) / static_cast<double>(done), 0) << " s left\n";
    };
  const auto index = write_with_index(o.out, Bundle::open(plain.path()), o.index, options);
  if (o.quiet) return;
  const Recall recall = index->recall();
  std::cerr << "index " << index->kind() << ": built in " << decimals(seconds(), 1) << " s, recall@" << recall.k << " "
            << recall.share << " on a sample of " << recall.queries << "\n";
}

// The run's bundle may be made anew; without its other files the run is lost.
void check_other_file(const Options& o) {
  std::error_code none;
  for (const auto& file : std::filesystem::directory_iterator(o.run, none))
    check(file.path().filename() == "bundle.safetensors" || !std::filesystem::equivalent(file.path(), o.out, none),
          "pack", o.out, " is a file of the run, which would be lost; choose another name");
}

void run_pack(const Options& o) {
  check_other_file(o);
  if (o.threads > 0) set_num_threads(o.threads);
  const TableType tables = o.tables == "int8" ? TableType::int8 : o.tables == "fp16" ? TableType::fp16 : TableType::f32;
  if (o.index == "exact")
    pack_run(o.run, o.data, o.out, !o.no_users, tables);
  else
    pack_with_index(o, tables);
  const Bundle bundle = Bundle::open(o.out);
  bundle.verify();
  if (o.quiet) return;
  std::cerr << "wrote " << o.out << ": " << bundle.num_items() << " items, "
            << (bundle.has_users() ? std::to_string(bundle.num_users()) + " users" : std::string("no users")) << ", "
            << std::filesystem::file_size(o.out) << " bytes\n";
  if (tables == TableType::f32) return;
  try {
    print_recall(o, bundle);
  } catch (const Error& error) {  // no room for the whole one beside it: what was asked for is there
    std::cerr << "note: what it costs in recall was not measured: " << error.what() << "\n";
  }
}

}  // namespace

void register_pack(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("pack", "Make a run's bundle anew: the one file that all serving needs");
  command->add_option("--run", o->run, "The run folder")->required();
  command->add_option("--out", o->out, "The file to write")->required();
  command->add_option("--data", o->data, "Where the run's dataset is now");
  command->add_flag("--no-users", o->no_users,
                    "Leave out all that is known of users: only users described by features and history are served");
  command
      ->add_option(
          "--tables", o->tables,
          "How the tables of users and items and the item vectors are held: float, fp16, or int8 with a scale a "
          "row. They are unpacked when the bundle is opened; what it costs in recall is printed")
      ->capture_default_str()
      ->check(CLI::IsMember({"float", "fp16", "int8"}));
  command
      ->add_option(
          "--index", o->index,
          "How items are searched: exact, fp16 or int8 (a scan of fewer bits, then what may be among the best "
          "in floats: the same answers), or hnsw (a walk through a graph: not all of them). The index is built "
          "now and stored in the bundle")
      ->capture_default_str()
      ->check(CLI::IsMember(index_kinds()));
  command
      ->add_option("--index-recall", o->index_recall,
                   "hnsw: the share of the 100 best items, on a sample, that its walks are made wide enough for")
      ->capture_default_str();
  command->add_option("--index-links", o->index_links, "hnsw: M, the neighbours of an item")->capture_default_str();
  command
      ->add_option("--index-ef-construction", o->index_ef_construction,
                   "hnsw: how many candidates an item's neighbours are chosen from")
      ->capture_default_str();
  command->add_flag("--quiet", o->quiet, "No messages");
  add_threads(*command, o->threads);
  command->footer(
      "Example:\n  twotower pack --run runs/base --out base.safetensors --no-users --tables int8 --index int8");
  command->callback([o] { run_pack(*o); });
}

}  // namespace tt
