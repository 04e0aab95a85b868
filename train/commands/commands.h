#pragma once
// The program's commands. Each register_X adds a subcommand whose callback does the job and throws tt::Error for the
// user's mistakes.

namespace CLI {
class App;
}

namespace tt {

void register_simulate(CLI::App& app);
void register_import(CLI::App& app);
void register_train(CLI::App& app);
void register_evaluate(CLI::App& app);
void register_retrieve(CLI::App& app);
void register_candidates(CLI::App& app);
void register_export(CLI::App& app);
void register_pack(CLI::App& app);
void register_score(CLI::App& app);
void register_step(CLI::App& app);
void register_inspect(CLI::App& app);
void register_demo(CLI::App& app);

}  // namespace tt
