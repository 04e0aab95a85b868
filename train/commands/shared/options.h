#pragma once
// What the commands' options have in common.

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace tt {

// Accepts whole numbers from low to high, and says so of anything else.
CLI::Validator whole_number(int64_t low, int64_t high);

void add_threads(CLI::App& command, int& threads);                      // --threads
void add_seed(CLI::App& command, uint64_t& seed, const char* of_what);  // --seed, with its default

// A file of user ids, one a line; `command` is for messages. Error where it cannot be read or holds none.
std::vector<std::string> read_user_ids(const char* command, const std::string& path);

// --run and --bundle: what to serve from.
struct BundleSource {
  std::string run, bundle;
  std::string path(const char* command) const;  // of the bundle; throws Error unless one of the two is given
};
void add_bundle_source(CLI::App& command, BundleSource& source);

}  // namespace tt
