#pragma once
// What the commands' options have in common.

#include <cstdint>
#include <string>

namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace tt {

// Accepts whole numbers from low to high, and says so of anything else.
CLI::Validator whole_number(int64_t low, int64_t high);

void add_threads(CLI::App& command, int& threads);                      // --threads
void add_seed(CLI::App& command, uint64_t& seed, const char* of_what);  // --seed, with its default

// --run and --bundle: what to serve from.
struct BundleSource {
  std::string run, bundle;
  std::string path(const char* command) const;  // of the bundle; throws Error unless one of the two is given
};
void add_bundle_source(CLI::App& command, BundleSource& source);

}  // namespace tt
