#include <doctest/doctest.h>
#include <twotower/train/commands/shared/time_left.h>

#include <cmath>

using namespace tt;

TEST_CASE("time left: by this training's own pace, not by that of the ones before") {
  TimeLeft left;
  CHECK(std::isnan(left(100, 0.1, 2)));  // its first word: nothing to judge by
  CHECK(left(110, 0.6, 2) == doctest::Approx(28));
  CHECK(left(138, 2, 2) == 0);
  // The second rung is ten times as fast.
  CHECK(std::isnan(left(140, 0.1, 4)));
  CHECK(left(141, 0.6, 4) == doctest::Approx(6.8));
}

TEST_CASE("time left: a resumed training is judged by what it has done since") {
  TimeLeft left;
  CHECK(std::isnan(left(0, 7.5, 10)));
  CHECK(std::isnan(left(1, 7.51, 10)));
  CHECK(left(10, 8, 10) == doctest::Approx(40));
}
