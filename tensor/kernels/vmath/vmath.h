#pragma once
// Elementary functions over arrays: y[i] = f(x[i]). y may be x. Errors against the exact value (tested): exp, log
// within 2 ulp, tanh, sigmoid, softplus within 4. NaN stays NaN; results below the normal range may flush to zero.

#include <cstdint>

namespace tt::kernels {

void vexp(const float* x, float* y, int64_t n);  // e^x; +inf above 88.72, 0 for -inf
void vlog(const float* x, float* y, int64_t n);  // -inf at 0, NaN below, +inf at +inf
void vtanh(const float* x, float* y, int64_t n);
void vsigmoid(const float* x, float* y, int64_t n);   // 1 / (1 + e^-x)
void vsoftplus(const float* x, float* y, int64_t n);  // log(1 + e^x) = max(x, 0) + log1p(e^-|x|)

}  // namespace tt::kernels
