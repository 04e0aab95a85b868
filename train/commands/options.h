#pragma once
// What the commands' options have in common.

#include <cstdint>

namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace tt {

// Accepts whole numbers from low to high, and says so of anything else.
CLI::Validator whole_number(int64_t low, int64_t high);

void add_threads(CLI::App& command, int& threads);                      // --threads
void add_seed(CLI::App& command, uint64_t& seed, const char* of_what);  // --seed, with its default

}  // namespace tt
