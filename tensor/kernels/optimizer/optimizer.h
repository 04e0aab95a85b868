#pragma once
// Optimizer steps, fused into one pass over memory. Formulas as in PyTorch 2 (torch.optim.Adam, Adagrad), with
// g = grad_scale * gradient; the scale serves clipping. Weight decay is decoupled (Loshchilov & Hutter 2019):
// p -= lr * weight_decay * p before the step.

#include <cstdint>

namespace tt::kernels {

// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
// p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
struct AdamStep {
  float lr = 1e-3f, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  float weight_decay = 0, grad_scale = 1;
  int64_t t = 1;  // this step's number, 1 first
};
void adam(const AdamStep& step, float* p, float* m, float* v, const float* g, int64_t n);

// Only rows ids[0 .. n) of p, m, v: [rows, dim]; ids ascending and unique (so that threads never meet); g: [n, dim].
// Lazy: the moments of a row that is not touched do not decay.
void adam_rows(const AdamStep& step, float* p, float* m, float* v, int64_t dim, const int64_t* ids, const float* g,
               int64_t n);

// s += g^2;  p -= lr * g / (sqrt(s) + eps)
struct AdagradStep {
  float lr = 1e-2f, eps = 1e-10f;
  float weight_decay = 0, grad_scale = 1;
};
void adagrad(const AdagradStep& step, float* p, float* s, const float* g, int64_t n);
void adagrad_rows(const AdagradStep& step, float* p, float* s, int64_t dim, const int64_t* ids, const float* g,
                  int64_t n);  // s: [rows, dim]

// Row-wise: one accumulator a row, s_row += mean_j g_j^2 (as FBGEMM's row-wise Adagrad). s: [rows].
void rowwise_adagrad_rows(const AdagradStep& step, float* p, float* s, int64_t dim, const int64_t* ids, const float* g,
                          int64_t n);

}  // namespace tt::kernels
