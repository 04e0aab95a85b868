#pragma once
// Lists: each row's own columns of the item block, as many as it likes, in compressed rows. What the ranker was shown,
// what the policy would show, what was drawn at random: list_losses.h has the losses over their scores.

#include <twotower/autograd/tape.h>

#include <cstdint>

namespace tt {

// Row i lists columns[offsets[i] .. offsets[i + 1]). An entry is one of these pairs of row and column.
struct Lists {
  Tensor<const int64_t> offsets;  // [B + 1]
  Tensor<const int32_t> columns;  // [N]
};

// The inner product of each listed pair and of no other: s_k = u_i . v_columns[k] for the entries k of row i.
// u: [B, D], v: [M, D] -> [N].
template <class T>
Variable<T> list_scores(Variable<T> u, Variable<T> v, const Lists& lists);

}  // namespace tt
