#pragma once
// Elementary functions over arrays: y[i] = f(x[i]). y may be x. Errors of float against the exact value (tested): exp,
// log within 2 ulp, tanh, sigmoid, softplus within 4, gelu and its slope within 5e-7 + 2e-7 |x|; double is the C
// library's. NaN stays NaN; float results below the normal range flush to zero in exp and may in the others.

#include <cstdint>

namespace tt::kernels {

template <class T>
void vexp(const T* x, T* y, int64_t n);  // e^x; of float +inf above 88.72; 0 for -inf
template <class T>
void vlog(const T* x, T* y, int64_t n);  // -inf at 0, NaN below, +inf at +inf
template <class T>
void vtanh(const T* x, T* y, int64_t n);
template <class T>
void vsigmoid(const T* x, T* y, int64_t n);  // 1 / (1 + e^-x)
template <class T>
void vsoftplus(const T* x, T* y, int64_t n);  // log(1 + e^x) = max(x, 0) + log1p(e^-|x|)
template <class T>
void vgelu(const T* x, T* y, int64_t n);  // x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016)
template <class T>
void vgelu_slope(const T* x, T* y, int64_t n);  // its derivative, Phi(x) + x phi(x)

}  // namespace tt::kernels
