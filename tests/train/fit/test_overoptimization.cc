#include <doctest/doctest.h>
#include <twotower/train/fit/overoptimization.h>

using tt::OveroptimizationMonitor;

TEST_CASE("over-optimisation: a warning once the reward rose and the measure fell twice in a row") {
  OveroptimizationMonitor monitor;
  CHECK(monitor.see(1.0, 0.50, "recall@20", false) == "");
  CHECK(monitor.see(1.1, 0.49, "recall@20", false) == "");
  CHECK(monitor.see(1.25, 0.4, "recall@20", false) ==
        "over-optimisation: the reward rose twice in a row to 1.250000 while recall@20 on "
        "held-out data got worse "
        "twice, to 0.400000; lower model.alignment_weight or stop earlier");
  CHECK(monitor.see(1.3, 0.3, "recall@20", false) != "");  // and goes on
  CHECK(monitor.see(1.2, 0.2, "recall@20", false) == "");  // both fall: not gamed
  CHECK(monitor.see(1.3, 0.1, "recall@20", false) == "");  // once
}

TEST_CASE("over-optimisation: neither better values with better measures nor one bad epoch is warned of") {
  OveroptimizationMonitor monitor;
  for (int i = 0; i < 10; ++i) CHECK(monitor.see(i, 0.1 * i, "ndcg@10", false) == "");
  OveroptimizationMonitor alternating;
  for (int i = 0; i < 10; ++i) CHECK(alternating.see(i, i % 2, "ndcg@10", false) == "");
}

TEST_CASE("over-optimisation: where lower is better, rising is worse") {
  OveroptimizationMonitor monitor;
  CHECK(monitor.see(1, 0.1, "value_lost@20", true) == "");
  CHECK(monitor.see(2, 0.2, "value_lost@20", true) == "");
  CHECK(monitor.see(3, 0.3, "value_lost@20", true) != "");
}
