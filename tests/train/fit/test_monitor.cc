#include <doctest/doctest.h>
#include <twotower/train/fit/monitor.h>

#include <limits>

#include "tests/train/fixtures.h"

using tt::OveroptimizationMonitor;

namespace {

// Of 40 users, half of whom lie `spread` above the mean and half below, whoever they are at this time.
std::vector<float> users(float mean, float spread, size_t first = 0) {
  std::vector<float> values(40);
  for (size_t i = 0; i < values.size(); ++i) values[i] = mean + ((i / (first + 1)) % 2 == 0 ? spread : -spread);
  return values;
}

}  // namespace

TEST_CASE("over-optimisation: a warning where the reward rose and users' label_pairs fell") {
  OveroptimizationMonitor monitor;
  CHECK(monitor.see(1.0, users(0.5f, 0.25f)) == "");
  CHECK(monitor.see(1.5, users(0.75f, 0.25f)) == "");
  CHECK(monitor.see(1.75, users(0.6875f, 0.25f)) ==  // every user alike: no doubt about it
        "over-optimisation: the reward rose from 1.5 to 1.75 while label_pairs of held-out users fell from 0.75 to "
        "0.6875 (standard error of the fall 0); lower model.alignment_weight, or raise model.reward_pessimism");
  CHECK(monitor.see(1.8, users(0.6875f, 0.25f)) != "");  // and goes on
  CHECK(monitor.see(1.4, users(0.6875f, 0.25f)) == "");  // both fell: not gamed
}

TEST_CASE("over-optimisation: no warning while both rise, nor of a fall within the noise of its users") {
  OveroptimizationMonitor rising, noisy;
  for (int i = 0; i < 10; ++i) CHECK(rising.see(i, users(0.5f + 0.03f * static_cast<float>(i), 0.2f)) == "");
  CHECK(noisy.see(1, users(0.5f, 0.2f)) == "");
  CHECK(noisy.see(2, users(0.45f, 0.2f, 1)) == "");  // half of the users changed by 0.4: an error of 0.045
  CHECK(noisy.see(3, users(0.35f, 0.2f, 1)) != "");
}

TEST_CASE("over-optimisation: users without a value on either side are left out") {
  OveroptimizationMonitor monitor;
  std::vector<float> before = users(0.5f, 0.1f), after = users(0.4f, 0.1f);
  before[0] = after[1] = std::numeric_limits<float>::quiet_NaN();
  CHECK(monitor.see(1, before) == "");
  CHECK(monitor.see(2, after) != "");
}

TEST_CASE("over-optimisation: what was seen outlives a resume") {
  const tt::TempFolder folder;
  const std::string path = folder.path() + "/state.safetensors";
  OveroptimizationMonitor monitor, resumed;
  monitor.see(1, users(0.5f, 0.1f));
  tt::SafetensorsWriter writer;
  monitor.add_state(writer);
  writer.write(path);
  resumed.load_state(tt::SafetensorsFile::open(path), 40);
  const std::string warning = monitor.see(2, users(0.4f, 0.1f));
  CHECK(warning != "");
  CHECK(resumed.see(2, users(0.4f, 0.1f)) == warning);
}
