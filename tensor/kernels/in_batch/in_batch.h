#pragma once
// Losses over all pairs of a batch, with their gradients, in one pass and without a [B, M] matrix in memory; float and
// double.
//   dot_ij = u_i . v_j       s_ij = inv_tau * dot_ij + col_bias_j       p_i = softmax_j(s_i)
// Panels of full score rows pass through a workspace of at most about 16 MB: scores, softmax, then du and dv.
// Same bits for any number of threads.

#include <cstdint>

namespace tt::kernels {

// Columns that row i leaves out of its softmax: cols[offsets[i] .. offsets[i+1]). Null: none. May hold duplicates.
struct Exclusions {
  const int64_t* offsets = nullptr;  // [B + 1]
  const int32_t* cols = nullptr;
};

// Rows with several positives: row i's are cols[offsets[i] .. offsets[i+1]), at least one and none twice. Null offsets:
// rows have one, `target`.
template <class T = float>
struct Positives {
  const int64_t* offsets = nullptr;  // [B + 1]
  const int32_t* cols = nullptr;
  T* scratch = nullptr;  // [offsets[B]]
  bool compete = true;   // false: a row's positives are not in each other's denominators
};

// Where the gradients of the mean loss go. A null pointer is not computed.
template <class T = float>
struct InBatchGrads {
  T* du = nullptr;              // [B, D]
  T* dv = nullptr;              // [M, D]
  double* d_inv_tau = nullptr;  // a scalar
};

// In-batch softmax cross-entropy (Yi et al. 2019: col_bias_j = -log Q(j) is the correction for sampling).
template <class T = float>
struct InBatchSoftmax {
  int64_t b = 0, m = 0, d = 0;  // M >= 1 columns: the batch's items, then any further negatives
  const T* u = nullptr;         // [B, D]
  const T* v = nullptr;         // [M, D]
  T inv_tau = 1;
  const T* col_bias = nullptr;        // [M] or null
  bool positive_uncorrected = false;  // leave col_bias out of the target's own score
  const int64_t* target = nullptr;    // [B] columns; null: row i's is column i
  Positives<T> positives;             // instead of targets; without exclude, hard_k and positive_uncorrected
  Exclusions exclude;                 // the target is never left out, even if listed
  int64_t hard_k = 0;                 // > 0: keep each row's k highest negatives only, ties by lower column
  const T* weight = nullptr;          // [B] or null: all 1
};

// ce[i] = -log p_i[target_i]; returns mean_i weight_i * ce_i. Without grads (null): forward only. ce may be null.
//   d loss / d s_ij = weight_i / B * (p_ij - [j == target_i])
// With n_i positives a row, ce[i] is the mean of their cross-entropies.
template <class T>
double in_batch_softmax(const InBatchSoftmax<T>& in, T* ce, const InBatchGrads<T>* grads = nullptr);

// KL divergence from a value distribution: q_i = softmax_j(value_ij), value_ij = a_i + col_b_j + c * dot_ij, constant
// to the gradient. a_i cancels in the softmax, so it is not asked for. Here s has no col_bias.
template <class T = float>
struct InBatchKl {
  int64_t b = 0, m = 0, d = 0;
  const T* u = nullptr;  // [B, D]
  const T* v = nullptr;  // [M, D]
  T inv_tau = 1;
  const T* col_b = nullptr;  // [M] or null: 0
  T c = 0;
  Exclusions exclude;  // left out of both distributions; a row with nothing left has KL 0
};

// Returns mean_i sum_j q_ij (log q_ij - log p_ij).   d loss / d s_ij = (p - q) / B
template <class T>
double in_batch_kl(const InBatchKl<T>& in, const InBatchGrads<T>* grads = nullptr);

}  // namespace tt::kernels
