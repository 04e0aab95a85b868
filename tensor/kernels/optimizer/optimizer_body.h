#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

// A step's scalars, worked out once in double.
struct StepScalars {
  float grad_scale, keep;  // p *= keep: 1 - lr * weight_decay
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float rate, eps;  // Adam: lr / (1 - beta1^t); Adagrad: lr
  float root;       // Adam: 1 / sqrt(1 - beta2^t)
};

struct OptimizerTable {
  void (*adam)(const StepScalars& s, float* p, float* m, float* v, const float* g, int64_t n);
  void (*adam_rows)(const StepScalars& s, float* p, float* m, float* v, int64_t dim, const int64_t* ids, const float* g,
                    int64_t n);
  void (*adagrad)(const StepScalars& s, float* p, float* sum, const float* g, int64_t n);
  void (*adagrad_rows)(const StepScalars& s, float* p, float* sum, int64_t dim, const int64_t* ids, const float* g,
                       int64_t n);
  void (*rowwise_adagrad_rows)(const StepScalars& s, float* p, float* sum, int64_t dim, const int64_t* ids,
                               const float* g, int64_t n);
};
TT_KERNEL_TABLE(OptimizerTable, optimizer_table, optimizer_body)

}  // namespace tt::kernels
