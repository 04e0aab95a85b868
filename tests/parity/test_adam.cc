// Twenty Adam steps over five batches, against PyTorch's parameters after the same steps.

#include <doctest/doctest.h>
#include <twotower/train/fit/training_step.h>
#include <twotower/train/run/checkpoint.h>
#include <twotower/train/run/config.h>
#include <twotower/train/step/step_batch.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/parity/compare.h"
#include "tests/train/fixtures.h"

TEST_CASE("parity: 20 Adam steps end at PyTorch's parameters") {
  for (const char* name : {"adam_base", "adam_debias"}) {
    INFO("golden case ", name);
    const std::string folder = std::string(TWOTOWER_GOLDEN_DIR) + "/" + name;
    tt::TwoTower<float> model(tt::load_model_config(folder + "/config.toml"));
    tt::load_model(folder + "/weights.safetensors", model);
    std::vector<std::unique_ptr<tt::StepBatch>> batches;
    for (int i = 0; i < 5; ++i)
      batches.push_back(
          std::make_unique<tt::StepBatch>(folder + "/batch" + std::to_string(i) + ".safetensors", model.config()));
    tt::TrainingStep step(model, {});
    for (size_t i = 0; i < 20; ++i) step.run(batches[i % 5]->batch(), 1e-3);

    const tt::TempFolder temp;
    tt::save_model(temp.path() + "/after.safetensors", model);
    const auto differences =
        tt::parity::compare_trajectory(tt::SafetensorsFile::open(folder + "/trajectory.safetensors"),
                                       tt::SafetensorsFile::open(temp.path() + "/after.safetensors"));
    REQUIRE(!differences.empty());
    for (const auto& d : differences) {
      INFO(d.name, ": error ", d.error, ", allowed ", d.allowed, "; ", d.text);
      CHECK(d.ok());
    }
  }
}
