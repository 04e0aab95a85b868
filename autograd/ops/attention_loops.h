#pragma once
// The double versions of the fused kernels: plain loops, one sequence and head at a time. Float has SIMD ones
// (tensor/kernels/attention) with the same contracts; a call with float pointers prefers those.

#include <twotower/autograd/ops/dot.h>
#include <twotower/tensor/kernels/attention/attention.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>
#include <cmath>

namespace tt::attention_loops {

// p = softmax of p[0..n), in place.
template <class T>
void softmax(T* p, int64_t n) {
  const T top = *std::max_element(p, p + n);
  T total = 0;
  for (int64_t j = 0; j < n; ++j) total += p[j] = std::exp(p[j] - top);
  for (int64_t j = 0; j < n; ++j) p[j] /= total;
}

// Row i of one head's probabilities: softmax_j(q_i . k_j / sqrt(d)).
template <class T>
void probabilities(const T* q, const T* k, int64_t stride, int64_t n, int64_t d, T* p) {
  for (int64_t j = 0; j < n; ++j) p[j] = dot(q, k + j * stride, d) / std::sqrt(static_cast<T>(d));
  softmax(p, n);
}

template <class T>
void attention_forward(const T* qkv, const int64_t* offsets, int64_t sequences, int64_t dim, int64_t heads, T* out,
                       T* /*stats*/) {
  const int64_t d = dim / heads, stride = 3 * dim;
  parallel_for(0, sequences, 8, [&](int64_t lo, int64_t hi) {
    for (int64_t s = lo; s < hi; ++s) {
      const int64_t n = offsets[s + 1] - offsets[s];
      T* p = static_cast<T*>(thread_scratch(0, static_cast<size_t>(n) * sizeof(T)));
      for (int64_t h = 0; h < heads; ++h) {
        const T* base = qkv + offsets[s] * stride + h * d;
        for (int64_t i = 0; i < n; ++i) {
          probabilities(base + i * stride, base + dim, stride, n, d, p);
          T* o = out + (offsets[s] + i) * dim + h * d;
          std::fill_n(o, d, T(0));
          for (int64_t j = 0; j < n; ++j)
            for (int64_t c = 0; c < d; ++c) o[c] += p[j] * base[j * stride + 2 * dim + c];
        }
      }
    }
  });
}

template <class T>
void attention_backward(const T* qkv, const T* /*out*/, const T* /*stats*/, const int64_t* offsets, int64_t sequences,
                        int64_t dim, int64_t heads, const T* dout, T* dqkv) {
  const int64_t d = dim / heads, stride = 3 * dim;
  const T factor = 1 / std::sqrt(static_cast<T>(d));
  std::fill_n(dqkv, offsets[sequences] * stride, T(0));
  parallel_for(0, sequences, 8, [&](int64_t lo, int64_t hi) {
    for (int64_t s = lo; s < hi; ++s) {
      const int64_t n = offsets[s + 1] - offsets[s];
      T* p = static_cast<T*>(thread_scratch(0, 2 * static_cast<size_t>(n) * sizeof(T)));
      T* dp = p + n;
      for (int64_t h = 0; h < heads; ++h) {
        const T *q = qkv + offsets[s] * stride + h * d, *k = q + dim, *v = k + dim;
        T *dq = dqkv + offsets[s] * stride + h * d, *dk = dq + dim, *dv = dk + dim;
        for (int64_t i = 0; i < n; ++i) {
          probabilities(q + i * stride, k, stride, n, d, p);
          const T* g = dout + (offsets[s] + i) * dim + h * d;
          for (int64_t j = 0; j < n; ++j) dp[j] = dot(g, v + j * stride, d);
          const T inner = dot(p, dp, n);
          for (int64_t j = 0; j < n; ++j) {
            const T ds = p[j] * (dp[j] - inner) * factor;
            for (int64_t c = 0; c < d; ++c) {
              dv[j * stride + c] += p[j] * g[c];
              dq[i * stride + c] += ds * k[j * stride + c];
              dk[j * stride + c] += ds * q[i * stride + c];
            }
          }
        }
      }
    }
  });
}

template <class T>
void attention_last_forward(const T* qk, const T* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                            int64_t heads, T* pooled) {
  const T factor = 1 / std::sqrt(static_cast<T>(dim / heads));
  parallel_for(0, sequences, 8, [&](int64_t lo, int64_t hi) {
    for (int64_t s = lo; s < hi; ++s) {
      const int64_t n = offsets[s + 1] - offsets[s];
      T* p = static_cast<T*>(thread_scratch(0, static_cast<size_t>(n) * sizeof(T)));
      for (int64_t h = 0; h < heads; ++h) {
        const T* query = qk + (s * heads + h) * dim;
        T* o = pooled + (s * heads + h) * dim;
        std::fill_n(o, dim, T(0));
        if (n == 0) continue;
        for (int64_t j = 0; j < n; ++j) p[j] = dot(query, x + (offsets[s] + j) * dim, dim) * factor;
        softmax(p, n);
        for (int64_t j = 0; j < n; ++j)
          for (int64_t c = 0; c < dim; ++c) o[c] += p[j] * x[(offsets[s] + j) * dim + c];
      }
    }
  });
}

template <class T>
void attention_last_backward(const T* qk, const T* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                             int64_t heads, const T* dpooled, T* dqk, T* dx, bool accumulate_dx) {
  const T factor = 1 / std::sqrt(static_cast<T>(dim / heads));
  if (!accumulate_dx) std::fill_n(dx, offsets[sequences] * dim, T(0));
  std::fill_n(dqk, sequences * heads * dim, T(0));
  parallel_for(0, sequences, 8, [&](int64_t lo, int64_t hi) {
    for (int64_t s = lo; s < hi; ++s) {
      const int64_t n = offsets[s + 1] - offsets[s];
      if (n == 0) continue;
      T* p = static_cast<T*>(thread_scratch(0, 2 * static_cast<size_t>(n) * sizeof(T)));
      T* dp = p + n;
      for (int64_t h = 0; h < heads; ++h) {
        const T *query = qk + (s * heads + h) * dim, *g = dpooled + (s * heads + h) * dim;
        T* dquery = dqk + (s * heads + h) * dim;
        for (int64_t j = 0; j < n; ++j) {
          p[j] = dot(query, x + (offsets[s] + j) * dim, dim) * factor;
          dp[j] = dot(g, x + (offsets[s] + j) * dim, dim);
        }
        softmax(p, n);
        const T inner = dot(p, dp, n);
        for (int64_t j = 0; j < n; ++j) {
          const T ds = p[j] * (dp[j] - inner) * factor;
          const T* row = x + (offsets[s] + j) * dim;
          T* drow = dx + (offsets[s] + j) * dim;
          for (int64_t c = 0; c < dim; ++c) {
            drow[c] += p[j] * g[c] + ds * query[c];
            dquery[c] += ds * row[c];
          }
        }
      }
    }
  });
}

using kernels::attention_backward;
using kernels::attention_forward;
using kernels::attention_last_backward;
using kernels::attention_last_forward;

}  // namespace tt::attention_loops
