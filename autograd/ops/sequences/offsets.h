#pragma once
// Sequences of rows stored one after another: sequence s is rows [offsets[s], offsets[s + 1]). For ops that take them.

#include <twotower/autograd/tape.h>

namespace tt {

// Throws Error unless the offsets begin at 0 and never fall.
inline void check_offsets(const Op& op, Tensor<const int64_t> offsets) {
  check(offsets.numel() >= 1, op.name, "there are no offsets; give one more than there are sequences");
  check(offsets[0] == 0, op.name, "the offsets begin at ", offsets[0], "; they must begin at 0");
  for (int64_t s = 1; s < offsets.numel(); ++s)
    check(offsets[s - 1] <= offsets[s], op.name, "offset ", s, " is ", offsets[s], ", less than ", offsets[s - 1],
          " before it");
}

// Nor unless they end at `rows`.
inline void check_offsets(const Op& op, Tensor<const int64_t> offsets, int64_t rows) {
  check_offsets(op, offsets);
  check(offsets[offsets.numel() - 1] == rows, op.name, "the offsets end at ", offsets[offsets.numel() - 1],
        ", the input has ", rows, " rows");
}

// A copy of the offsets for the backward pass, once they are checked.
template <class T>
Tensor<const int64_t> checked_offsets(const Op& op, Tape<T>& tape, Tensor<const int64_t> offsets, int64_t rows) {
  check_offsets(op, offsets, rows);
  return tape.keep(offsets);
}

}  // namespace tt
