// twotower: simulate, import, train, evaluate, retrieve, export, step, inspect, demo.
// Exit status: 0 done, 2 the user's mistake (one line on standard error), 1 ours.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "tensor/error.h"
#include "train/commands/commands.h"

int main(int argc, char** argv) {
  CLI::App app("twotower trains and serves two-tower retrieval models.\nExample: twotower demo --out /tmp/demo");
  app.require_subcommand(1);
  app.set_version_flag("--version", TWOTOWER_VERSION);
  tt::register_simulate(app);
  tt::register_import(app);
  tt::register_train(app);
  tt::register_evaluate(app);
  tt::register_retrieve(app);
  tt::register_export(app);
  tt::register_step(app);
  tt::register_inspect(app);
  tt::register_demo(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& e) {  // --help, --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "[command line] %s; see twotower --help\n", e.what());
    return 2;
  } catch (const tt::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "[twotower] unexpected failure: %s\n", e.what());
    return 1;
  }
}
