#pragma once
// Commands that make datasets.

namespace CLI {
class App;
}

namespace tt {

void register_simulate(CLI::App& app);
void register_import(CLI::App& app);

}  // namespace tt
