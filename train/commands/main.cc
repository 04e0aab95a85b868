// twotower: simulate, import, train, evaluate, retrieve, candidates, export, pack, score, step, inspect, demo.
// Exit status: 0 done, 2 the user's mistake (one line on standard error), 1 ours.

#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/commands/commands.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>

namespace {

// CLI11 only says that a command is required.
void check_command(const CLI::App& app, const std::string& word) {
  if (word.empty() || word[0] == '-') return;
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == word) return;
    names.push_back(command->get_name());
  }
  const std::string nearest = tt::nearest_name(word, names);
  tt::fail("command line", "there is no command \"", word, "\"",
           nearest.empty() ? std::string("; see twotower --help") : "; did you mean \"" + nearest + "\"?");
}

// What CLI11 says, with the command whose help tells more; it throws before or while that command is parsed.
std::string parse_message(const CLI::App& app, const CLI::ParseError& error) {
  std::string text = error.what(), command;
  for (const CLI::App* parsed : app.get_subcommands()) command += " " + parsed->get_name();
  if (const size_t at = text.find(": At Most 1 required"); at != std::string::npos)
    text = text.substr(0, at) + " is given more than once; keep one";
  return text + "; see twotower" + command + " --help";
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that grows too large is a failed write, told in a line
  CLI::App app("twotower trains and serves two-tower retrieval models.\nExample: twotower demo --out /tmp/demo",
               "twotower");
  app.require_subcommand(1);
  app.set_version_flag("--version", TWOTOWER_VERSION);
  tt::register_simulate(app);
  tt::register_import(app);
  tt::register_train(app);
  tt::register_evaluate(app);
  tt::register_retrieve(app);
  tt::register_candidates(app);
  tt::register_export(app);
  tt::register_pack(app);
  tt::register_score(app);
  tt::register_step(app);
  tt::register_inspect(app);
  tt::register_demo(app);
  try {
    check_command(app, argc > 1 ? argv[1] : "");
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& e) {  // --help, --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "[command line] %s\n", parse_message(app, e).c_str());
    return 2;
  } catch (const tt::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  } catch (const std::filesystem::filesystem_error& e) {  // a folder above that may not be searched, and the like
    std::fprintf(stderr, "[%s] %s; check the path and its permissions\n", e.path1().c_str(),
                 e.code().message().c_str());
    return 2;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "[memory] there is not enough for what was asked; use smaller tables, batches or queues\n");
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "[twotower] unexpected failure: %s\n", e.what());
    return 1;
  }
}
