#pragma once
// What comes, goes and moves in a drifting world: docs/worlds.md. Times here are parts of the training log: 0 is its
// first visit, 1 its end, and the test period runs from 1 to 1.25.

#include <twotower/train/simulate/options.h>

#include <cstdint>
#include <vector>

namespace tt {

// Items are born, fade and go.
struct Catalogue {
  std::vector<float> born, gone;  // [C]; both empty: every item is there all the time

  bool offered(int64_t item, double time) const;
  // What is left of the item's popularity at its age: in [0, 1], 0 where it is not on offer.
  double freshness(int64_t item, double time) const;
  // What is on offer in the test period, or empty: everything.
  std::vector<uint8_t> available() const;
};

// Error where the items on offer are at some time too few for a slate.
Catalogue make_catalogue(const SimulatorOptions& options);

// When each user is first there: [U].
std::vector<float> user_births(const SimulatorOptions& options);

// Makes of item vectors [C, L] the vectors of items that belong to one of some themes each.
void gather_in_themes(const SimulatorOptions& options, std::vector<float>& items);

// Users' interests over time. The rows offsets[u] .. offsets[u + 1] of `vectors` are those of user u, a row a visit,
// oldest first; a user who never comes has one.
struct Interests {
  std::vector<int64_t> offsets;  // [U + 1]
  std::vector<int64_t> visit;    // [rows] the visit from which on the row holds; -1: there is none
  std::vector<int64_t> row_of;   // [V] a visit's row
  std::vector<float> vectors;    // [rows, L]
};

// visitors: [V] who comes; long_run: [U, L] what features know of a user, of variance 1.
Interests drift_interests(const SimulatorOptions& options, const std::vector<int32_t>& visitors,
                          const std::vector<float>& long_run);

}  // namespace tt
