#pragma once
// Passes over one row of scores.

#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

// What turns a dot into the two scores of the KL: s = inv_tau * dot + col_bias, t = c * dot + col_b.
// A dot of -inf marks a column that is left out.
struct KlScores {
  float inv_tau, c;
  const float* col_bias;  // or null
  const float* col_b;     // or null
};

struct InBatchTable {
  float (*bias_max)(float* x, const float* bias, int64_t n);                   // x += bias (or null); their maximum
  float (*exp_sum)(float* x, float max, int64_t n);                            // x = e^(x - max); their sum
  void (*kl_max)(const float* dot, const KlScores& k, int64_t n, float* max);  // max[0]: s, [1]: t
  void (*kl_sums)(const float* dot, const KlScores& k, int64_t n, const float* max,
                  double* sums);  // sums += e^(. - max)
  // dot -> p - q with p = e^(s - log_sum[0]), q = e^(t - log_sum[1]); returns sum q (log q - log p)
  float (*kl_grad)(float* dot, const KlScores& k, int64_t n, const float* log_sum);
};
TT_KERNEL_TABLE(InBatchTable, in_batch_table, in_batch_body)

}  // namespace tt::kernels
