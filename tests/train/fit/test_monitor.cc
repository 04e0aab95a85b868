#include <doctest/doctest.h>
#include <twotower/train/fit/monitor.h>

using tt::OveroptimizationMonitor;

TEST_CASE("over-optimisation: a warning where the reward rose and the labels' measure fell by more than its noise") {
  OveroptimizationMonitor monitor;
  CHECK(monitor.see(1.0, "label_pairs", 0.70, 0.01) == "");
  CHECK(monitor.see(1.5, "label_pairs", 0.72, 0.01) == "");
  CHECK(monitor.see(1.6, "label_pairs", 0.705, 0.01) == "");  // as may happen by chance
  CHECK(monitor.see(1.75, "label_pairs", 0.6875, 0.01) ==
        "over-optimisation: the reward rose from 1.5 to 1.75 while label_pairs of held-out labels fell from 0.72 to "
        "0.6875 (standard error 0.01); lower model.alignment_weight, or raise model.reward_pessimism");
  CHECK(monitor.see(1.8, "label_pairs", 0.68, 0.01) != "");  // and goes on
  CHECK(monitor.see(1.4, "label_pairs", 0.68, 0.01) == "");  // both fell: not gamed
}

TEST_CASE("over-optimisation: no warning while both rise, nor of the noise around a measure that stays") {
  OveroptimizationMonitor rising, staying;
  for (int i = 0; i < 10; ++i) {
    CHECK(rising.see(i, "label_pairs", 0.5 + 0.03 * i, 0.01) == "");
    CHECK(staying.see(i, "label_pairs", 0.5 + (i % 2 == 0 ? 0.009 : -0.009), 0.01) == "");
  }
}

TEST_CASE("over-optimisation: a slow decline adds up") {
  OveroptimizationMonitor monitor;
  int warned = 0;
  for (int i = 0; i < 10; ++i) warned += monitor.see(i, "label_pairs", 0.7 - 0.003 * i, 0.01) != "";
  CHECK(warned == 3);  // by 0.021 and more
}
