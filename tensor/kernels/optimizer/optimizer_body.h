#pragma once
#include <twotower/tensor/kernels/dispatch.h>

#include <cstdint>

namespace tt::kernels {

// A step's scalars, worked out once in double.
template <class T>
struct StepScalars {
  T grad_scale, keep;  // p *= keep: 1 - lr * weight_decay
  T beta1, one_minus_beta1, beta2, one_minus_beta2;
  T rate, eps;  // Adam: lr / (1 - beta1^t); the others: lr
  T root;       // Adam: 1 / sqrt(1 - beta2^t)
};

template <class T>
struct OptimizerTable {
  void (*adam)(const StepScalars<T>& s, T* p, T* m, T* v, const T* g, int64_t n);
  void (*adam_rows)(const StepScalars<T>& s, T* p, T* m, T* v, int64_t dim, const int64_t* ids, const T* g, int64_t n);
  // state: Adagrad's sum of squares, SGD's momentum or null.
  void (*adagrad)(const StepScalars<T>& s, T* p, T* state, const T* g, int64_t n);
  void (*adagrad_rows)(const StepScalars<T>& s, T* p, T* state, int64_t dim, const int64_t* ids, const T* g, int64_t n);
  void (*sgd)(const StepScalars<T>& s, T* p, T* state, const T* g, int64_t n);
  void (*sgd_rows)(const StepScalars<T>& s, T* p, T* state, int64_t dim, const int64_t* ids, const T* g, int64_t n);
};
TT_KERNEL_TABLES(OptimizerTable, optimizer)

}  // namespace tt::kernels
