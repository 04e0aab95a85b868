#pragma once
// Passes over one row of dots, for the KL; the softmax's are in softmax_body.h.

#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

// What turns a dot into the two scores of the KL: s = inv_tau * dot, t = c * dot + col_b.
// A dot of -inf marks a column that is left out.
template <class T>
struct KlScores {
  T inv_tau, c;
  const T* col_b;  // or null
};

template <class T>
struct InBatchTable {
  void (*kl_max)(const T* dot, const KlScores<T>& k, int64_t n, T* max);                       // max[0]: s, [1]: t
  void (*kl_sums)(const T* dot, const KlScores<T>& k, int64_t n, const T* max, double* sums);  // sums += e^(. - max)
  // dot -> p - q with p = e^(s - log_sum[0]), q = e^(t - log_sum[1]); returns sum q (log q - log p)
  T (*kl_grad)(T* dot, const KlScores<T>& k, int64_t n, const T* log_sum);
};
TT_KERNEL_TABLES(InBatchTable, in_batch)

}  // namespace tt::kernels
