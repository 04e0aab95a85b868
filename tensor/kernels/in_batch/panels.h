#pragma once
// The walk that both losses share: super-panels of rows, each first by row chunks (scores, softmax, du), then by
// column chunks (dv). A super-panel's rows are added to dv in one fixed order, so no thread needs a dv of its own.

#include <twotower/tensor/kernels/gemm/gemm_body.h>
#include <twotower/tensor/kernels/in_batch/in_batch.h>

#include <cstdint>

namespace tt::kernels::detail {

struct Panels {
  int64_t b, m, d;
  const float* u;
  const float* v;
  float inv_tau;
  const InBatchGrads* grads;  // or null

  // Turns one row of A v^T in `row` [m] into unnormalised weights g, and returns their factor: the gradient of the
  // row's loss to s_ij is factor * g_ij. Called for column blocks through `accumulate`, see in_batch.cc.
  const void* context;
  // Scale of u in the scores that rows see.
  float score_scale;
  void (*prepare)(const void* context, int64_t i, float* row, double* state);
  void (*block)(const void* context, int64_t i, float* row, int64_t j0, int64_t n, double* state);
  // `target_weight` (already scaled like g) is subtracted from column `target`, unless that is < 0, and weights[k] from
  // each of `count` columns targets[k].
  struct Finish {
    double loss, factor, target_weight;
    int64_t target;
    const int32_t* targets = nullptr;
    const float* weights = nullptr;
    int64_t count = 0;
  };
  Finish (*finish)(const void* context, int64_t i, float* row, const double* state);
};

// Returns mean_i weight_i * loss_i; out [b] or null receives loss_i.
double run_panels(const Panels& p, const float* weight, float* out);

// Sets the listed columns of `row` to -inf.
inline void exclude(const Exclusions& e, int64_t i, float* row) {
  if (e.offsets == nullptr) return;
  for (int64_t k = e.offsets[i]; k < e.offsets[i + 1]; ++k) row[e.cols[k]] = -__builtin_inff();
}

}  // namespace tt::kernels::detail
