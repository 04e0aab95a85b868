#pragma once
// The loops an autodiff engine spends its elementwise time in. Arrays may be unaligned; outputs may equal inputs
// unless said otherwise. Matrices are row-major and contiguous. Same bits for any number of threads.

#include <cstdint>

namespace tt::kernels {

void add(const float* a, const float* b, float* y, int64_t n);                 // y = a + b
void mul(const float* a, const float* b, float* y, int64_t n);                 // y = a * b
void mul_add_to(float* y, const float* a, const float* b, int64_t n);          // y += a * b
void add_to(float* y, const float* x, int64_t n);                              // y += x
void axpy(float* y, float alpha, const float* x, int64_t n);                   // y += alpha * x
void scale_to(float* y, float alpha, const float* x, int64_t n);               // y = alpha * x
void relu(const float* x, float* y, int64_t n);                                // y = max(x, 0); NaN stays NaN
void relu_backward(float* dx, const float* dy, const float* y, int64_t n);     // dx = y > 0 ? dy : 0
void relu_backward_to(float* dx, const float* dy, const float* y, int64_t n);  // dx += y > 0 ? dy : 0

double dot(const float* a, const float* b, int64_t n);  // summed in double
double sum(const float* x, int64_t n);

void add_bias_rows(float* y, const float* bias, int64_t rows, int64_t cols);  // y[i, :] += bias
void column_sums_to(float* db, const float* dy, int64_t rows, int64_t cols);  // db += sum_i dy[i, :]

}  // namespace tt::kernels
