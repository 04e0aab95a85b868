// Every golden case of tests/parity/golden against `twotower step`, file to file. TWOTOWER_GOLDEN_DIR is that
// folder.

#include <doctest/doctest.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/step/step.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "tests/parity/compare.h"

namespace fs = std::filesystem;

namespace {

// Folders of golden/ that hold `file`, by name.
std::vector<fs::path> cases_with(const char* file) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(TWOTOWER_GOLDEN_DIR))
    if (fs::exists(entry.path() / file)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

void check_all(const std::vector<tt::parity::Difference>& differences) {
  for (const auto& d : differences) {
    INFO(d.name, ": error ", d.error, ", allowed ", d.allowed, "; ", d.text);
    CHECK(d.ok());
  }
}

// A file name of our own that is gone when the test is.
struct ScratchFile {
  fs::path path =
      fs::temp_directory_path() / fs::path("twotower_parity_" + std::to_string(::getpid()) + ".safetensors");
  ~ScratchFile() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
};

}  // namespace

TEST_CASE("parity: every rung's loss, gradients and retrieved items are PyTorch's") {
  const auto cases = cases_with("expected.safetensors");
  REQUIRE(cases.size() >= 24);  // eight rungs, three shapes each
  for (const auto& folder : cases) {
    INFO("golden case ", folder.filename().string());
    const ScratchFile out;
    CHECK_NOTHROW(tt::run_step((folder / "config.toml").string(), (folder / "weights.safetensors").string(),
                               (folder / "batch.safetensors").string(), out.path.string()));
    if (!fs::exists(out.path)) continue;
    const auto expected = tt::SafetensorsFile::open((folder / "expected.safetensors").string());
    const auto found = tt::SafetensorsFile::open(out.path.string());
    check_all(tt::parity::compare_step(expected, found));
  }
}

TEST_CASE("parity: the comparison sees what it should") {
  const auto folder = fs::path(TWOTOWER_GOLDEN_DIR) / "kd_odd";
  const auto expected = tt::SafetensorsFile::open((folder / "expected.safetensors").string());
  check_all(tt::parity::compare_step(expected, expected));

  const ScratchFile out;
  tt::SafetensorsWriter writer;
  const auto& u = expected.entry("user_embedding");
  std::vector<float> moved(reinterpret_cast<const float*>(u.data),
                           reinterpret_cast<const float*>(u.data) + u.elements());
  const float largest = std::abs(
      *std::max_element(moved.begin(), moved.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }));
  moved[1] += 3e-4F * largest;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  writer.add("loss", &nan, {1});
  writer.add("user_embedding", moved.data(), u.shape);
  writer.add("item_embedding", moved.data(), {u.elements()});
  writer.write(out.path.string());
  const auto found = tt::SafetensorsFile::open(out.path.string());
  for (const auto& d : tt::parity::compare_step(expected, found)) CHECK_FALSE(d.ok());
}

TEST_CASE("parity: a trajectory is held to its parameters, flat directions aside") {
  for (const auto& folder : cases_with("trajectory.safetensors")) {
    const auto expected = tt::SafetensorsFile::open((folder / "trajectory.safetensors").string());
    const auto before = tt::SafetensorsFile::open((folder / "weights.safetensors").string());
    const ScratchFile out;
    tt::SafetensorsWriter writer;  // PyTorch's own parameters as a checkpoint
    for (const auto& name : before.names()) {
      const auto& p = expected.entry("param." + name);
      writer.add(name, p.dtype, p.data, p.shape);
    }
    writer.write(out.path.string());
    check_all(tt::parity::compare_trajectory(expected, tt::SafetensorsFile::open(out.path.string())));

    const auto untrained = tt::parity::compare_trajectory(expected, before);  // 20 steps of 1e-3 are seen
    CHECK(untrained.size() == before.names().size());
    // all but the two biases that add one vector to every item, which softmax does not see
    CHECK(std::count_if(untrained.begin(), untrained.end(), [](const auto& d) { return d.ok(); }) <= 2);
  }
}
