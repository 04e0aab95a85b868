#pragma once

#include <cstdint>
#include <limits>

namespace tt {

// A user as of some moment: the first `history_end` actions of the user's list came before `time`, which only a truth
// that changes asks for. Row -1 is a user the dataset does not know: no id, zero features, no history.
struct UserMoment {
  int64_t user = -1;
  int64_t history_end = 0;
  double time = std::numeric_limits<double>::infinity();  // after everything
};

}  // namespace tt
