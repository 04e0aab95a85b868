#pragma once
// Losses over all pairs of a batch: B users against M item columns (the batch's own items first, then any
// further negatives). All work on panels of rows: no [B, M] matrix is stored, so memory does not grow with B
// * M.
//
//   dot_ij = u_i . v_j        s_ij = dot_ij / tau - log Q_j        pi_i = softmax_j(s_i)

#include <twotower/autograd/tape.h>

#include <cstdint>

namespace tt {

// Columns that row i leaves out, in compressed rows: columns[offsets[i] .. offsets[i+1]). Never its own
// target.
struct Exclusions {
  Tensor<const int64_t> offsets;  // [B + 1]; empty: nothing is left out
  Tensor<const int32_t> columns;
};

// Several positive columns a row, in compressed rows like the above: at least one each, none twice.
struct Positives {
  Tensor<const int64_t> offsets;  // [B + 1]; empty: rows have one positive, their target
  Tensor<const int32_t> columns;
  bool compete = true;  // false: a row's positives are not in each other's denominators
};

template <class T>
struct Candidates {
  Tensor<const T> log_q = {};         // [M] or empty: log of how often each column's item is expected
  bool positive_uncorrected = false;  // leave log Q out of the target's own logit
  Tensor<const int64_t> target = {};  // [B] or empty: the positive column of each row; empty: row i's is i
  Positives positives = {};           // instead of targets; not with exclude, hard_negatives, positive_uncorrected
  Exclusions exclude = {};
  int64_t hard_negatives = 0;  // > 0: keep only each row's that many highest negatives
};

// mean_i weight_i * (-log pi_i[target_i]). u: [B, D], v: [M, D], tau: [1], weight: [B].
// With n_i positives a row, -log pi_i[target_i] becomes its mean over them: the multinomial likelihood (Liang
// et al. 2018, "Variational autoencoders for collaborative filtering"), which is what as many rows with one
// positive each would give; without `compete`, what they would give with the row's other positives excluded.
// Bengio & Senecal 2008 (sampled softmax), Yi et al. 2019 (log Q correction of in-batch negatives).
template <class T>
Variable<T> in_batch_softmax(Variable<T> u, Variable<T> v, Variable<T> tau, Variable<T> weight,
                             const Candidates<T>& candidates);

// What the unfused references need: s as a matrix, excluded columns at -inf. dots: [B, M], tau: [1].
template <class T>
Variable<T> candidate_scores(Variable<T> dots, Variable<T> tau, const Candidates<T>& candidates);

}  // namespace tt
