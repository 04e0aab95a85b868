#pragma once
// Commands that use a trained run.

namespace CLI {
class App;
}

namespace tt {

void register_evaluate(CLI::App& app);
void register_retrieve(CLI::App& app);
void register_export(CLI::App& app);
void register_inspect(CLI::App& app);

}  // namespace tt
