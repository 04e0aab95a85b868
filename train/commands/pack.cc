// twotower pack: a run's bundle anew, with or without its users.

#include <twotower/tensor/parallel.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/run/run.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>

namespace tt {
namespace {

struct Options {
  std::string run, data, out;
  bool no_users = false, quiet = false;
  int threads = 0;
};

void run_pack(const Options& o) {
  if (o.threads > 0) set_num_threads(o.threads);
  pack_run(o.run, o.data, o.out, !o.no_users);
  const Bundle bundle = Bundle::open(o.out);
  bundle.verify();
  if (o.quiet) return;
  std::cerr << "wrote " << o.out << ": " << bundle.num_items() << " items, "
            << (bundle.has_users() ? std::to_string(bundle.num_users()) + " users" : std::string("no users")) << ", "
            << std::filesystem::file_size(o.out) << " bytes\n";
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
  command->add_flag("--quiet", o->quiet, "No messages");
  add_threads(*command, o->threads);
  command->footer("Example:\n  twotower pack --run runs/base --out base.safetensors --no-users");
  command->callback([o] { run_pack(*o); });
}

}  // namespace tt
