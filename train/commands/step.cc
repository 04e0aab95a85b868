#include <twotower/train/commands/commands.h>
#include <twotower/train/step/step.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

namespace tt {

void register_step(CLI::App& app) {
  struct Arguments {
    std::string config, weights, batch, out;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("step", "One forward and backward pass on given numbers");
  command->footer(
      "Example: twotower step --config F.toml --weights W.safetensors --batch B.safetensors --out O.safetensors");
  command->add_option("--config", a->config, "TOML file with a [model] table")->required();
  command->add_option("--weights", a->weights, "Checkpoint")->required();
  command->add_option("--batch", a->batch, "Safetensors file with the columns of a batch")->required();
  command->add_option("--out", a->out, "Safetensors file to write: loss, embeddings, gradients")->required();
  command->callback([a] {
    run_step(a->config, a->weights, a->batch, a->out);
    std::printf("wrote %s\n", a->out.c_str());
  });
}

}  // namespace tt
