#pragma once
// How attention cuts a batch of ragged sequences: groups of whole ones that pass through the layer together.

#include <twotower/tensor/memory.h>
#include <twotower/tensor/tensor.h>

#include <algorithm>
#include <cstdint>

namespace tt {

// Whole sequences that pass through a layer together: their rows, times the eleven widths of what the
// backward pass keeps of them, fill most of the L2 cache.
struct SequenceGroups {
  static constexpr int64_t kSequences = 64;
  const int64_t* offsets;
  const int64_t* first;  // group g: sequences first[g] .. first[g + 1]
  int64_t count;

  SequenceGroups(Tensor<const int64_t> all, int64_t dim, Arena& arena) : offsets(all.data()), count(0) {
    const int64_t sequences = all.numel() - 1, most = std::clamp<int64_t>(16384 / dim, 64, 256);
    auto* starts = arena.allocate<int64_t>(sequences + 1);
    for (int64_t s = 0; s < sequences;) {
      starts[count++] = s;
      const int64_t start = s++;
      while (s < sequences && s - start < kSequences && all[s + 1] - all[start] <= most) ++s;
    }
    starts[count] = sequences;
    first = starts;
  }
};

// One of them, with its offsets counted from its own first row.
struct SequenceGroup {
  int64_t row, rows, sequences;
  int64_t offsets[SequenceGroups::kSequences + 1];

  SequenceGroup(const SequenceGroups& all, int64_t g) : sequences(all.first[g + 1] - all.first[g]) {
    const int64_t* from = all.offsets + all.first[g];
    row = from[0], rows = from[sequences] - row;
    for (int64_t s = 0; s <= sequences; ++s) offsets[s] = from[s] - row;
  }
};

}  // namespace tt
