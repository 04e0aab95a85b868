#pragma once
// What ops do to blocks of rows beside their matrix products, for float and double. Arrays may be unaligned; outputs
// may equal inputs. Matrices are row-major and contiguous. Same bits for any number of threads.

#include <cstdint>

namespace tt::kernels {

template <class T>
void add_to(T* y, const T* x, int64_t n);  // y += x
template <class T>
void relu_backward(T* dx, const T* dy, const T* y, int64_t n);  // dx = y > 0 ? dy : 0
template <class T>
void add_bias_rows(T* y, const T* bias, int64_t rows, int64_t cols);  // y[i, :] += bias
template <class T>
void column_sums_to(T* db, const T* dy, int64_t rows, int64_t cols);  // db += sum_i dy[i, :]

}  // namespace tt::kernels
