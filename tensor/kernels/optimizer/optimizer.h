#pragma once
// Optimizer steps, fused into one pass over memory, for float and double. Formulas as in PyTorch 2 (torch.optim.Adam,
// Adagrad, SGD), with g = grad_scale * gradient; the scale serves clipping. Weight decay is decoupled (Loshchilov &
// Hutter 2019): p -= lr * weight_decay * p before the step.
//
// The _rows forms touch rows ids[0 .. n) of p and of its states alone, all [rows, dim]; ids ascend and are unique (so
// that threads never meet); g: [n, dim].

#include <cstdint>

namespace tt::kernels {

// Moments that only decay end below the normal numbers of float, where some processors take a hundred times as long.
// So a first moment under kLeastMoment becomes 0, and so does a second one under kLeastSquare: with eps = 1e-8 a step
// differs by less than 1e-22 lr for the one, and by a part in 10^8 for the other.
inline constexpr double kLeastMoment = 1e-30, kLeastSquare = 1e-36;

// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
// p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
struct AdamStep {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0, grad_scale = 1;
  int64_t t = 1;  // this step's number, 1 first
};
template <class T>
void adam(const AdamStep& step, T* p, T* m, T* v, const T* g, int64_t n);

// Lazy: the moments of a row that is not touched do not decay.
template <class T>
void adam_rows(const AdamStep& step, T* p, T* m, T* v, int64_t dim, const int64_t* ids, const T* g, int64_t n);

// s += g^2;  p -= lr * g / (sqrt(s) + eps)
struct AdagradStep {
  double lr = 1e-2, eps = 1e-10;
  double weight_decay = 0, grad_scale = 1;
};
template <class T>
void adagrad(const AdagradStep& step, T* p, T* s, const T* g, int64_t n);
template <class T>
void adagrad_rows(const AdagradStep& step, T* p, T* s, int64_t dim, const int64_t* ids, const T* g, int64_t n);

// m = momentum m + g;  p -= lr * m.   m null: p -= lr * g. By rows it is as lazy as Adam.
struct SgdStep {
  double lr = 1e-2, momentum = 0;
  double weight_decay = 0, grad_scale = 1;
};
template <class T>
void sgd(const SgdStep& step, T* p, T* m, const T* g, int64_t n);
template <class T>
void sgd_rows(const SgdStep& step, T* p, T* m, int64_t dim, const int64_t* ids, const T* g, int64_t n);

}  // namespace tt::kernels
