#include "autograd/ops/attention.h"

#include <cmath>

#include "tensor/gemm.h"
#include "tensor/kernels/attention/attention.h"
#include "tensor/parallel.h"

namespace tt {
namespace {

const Op kPositional("add_positional"), kAttention("attention"), kAttentionReference("attention_reference"),
    kNewest("newest_attention"), kZeroIfEmpty("zero_if_empty");

// The double versions of the two fused kernels: plain loops, one sequence and head at a time. Float has SIMD ones
// (tensor/kernels/attention) with the same contracts.

template <class T>
T dot(const T* a, const T* b, int64_t n) {
  T s = 0;
  for (int64_t i = 0; i < n; ++i) s += a[i] * b[i];
  return s;
}

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
void attention_forward(const T* qkv, const int64_t* offsets, int64_t sequences, int64_t dim, int64_t heads, T* out) {
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
void attention_backward(const T* qkv, const int64_t* offsets, int64_t sequences, int64_t dim, int64_t heads,
                        const T* dout, T* dqkv) {
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

// For float, overload resolution prefers the non-template kernels.
using kernels::attention_backward;
using kernels::attention_forward;
using kernels::attention_last_backward;
using kernels::attention_last_forward;

template <class T>
void check_sequences(const Op& op, int64_t rows, int64_t dim, Tensor<const int64_t> offsets, int64_t heads) {
  check(heads >= 1 && dim % heads == 0, op.name, heads, " heads do not divide the width ", dim);
  check(offsets.numel() >= 1 && offsets[offsets.numel() - 1] == rows, op.name, "the offsets end at ",
        offsets.numel() ? offsets[offsets.numel() - 1] : 0, ", the input has ", rows, " rows");
}

}  // namespace

template <class T>
Variable<T> add_positional(Variable<T> x, Tensor<const int64_t> offsets, Tensor<const T> encoding) {
  const int64_t sequences = offsets.numel() - 1, d = x.cols(), capacity = encoding.rows();
  check(encoding.cols() == d, kPositional.name, "encoding ", encoding.shape(), " does not fit ", x.shape());
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape());
  parallel_for(0, sequences, 64, [&](int64_t lo, int64_t hi) {
    for (int64_t s = lo; s < hi; ++s) {
      check(offsets[s + 1] - offsets[s] <= capacity, kPositional.name, "sequence ", s, " has ",
            offsets[s + 1] - offsets[s], " rows, more than the capacity ", capacity);
      const T *e = encoding.row(capacity - 1), *from = xv.data() + offsets[s] * d;  // newest first, last row first
      T* to = y.data() + offsets[s] * d;
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r, e -= d, from += d, to += d)
        for (int64_t j = 0; j < d; ++j) to[j] = from[j] + e[j];
    }
  });
  return tape.record(kPositional, y, {x}, [=](const Tensor<T>& dout) {
    const GradTarget<T> dx = x.grad_target();
    parallel_for(0, dout.numel(), 32768, [&](int64_t lo, int64_t hi) {
      if (!dx.add) std::copy(dout.data() + lo, dout.data() + hi, dx.data + lo);
      else
        for (int64_t i = lo; i < hi; ++i) dx.data[i] += dout[i];
    });
  });
}

template <class T>
Variable<T> attention(Variable<T> qkv, Tensor<const int64_t> offsets, int64_t heads) {
  const int64_t n = qkv.rows(), dim = qkv.cols() / 3, sequences = offsets.numel() - 1;
  check(qkv.cols() == 3 * dim, kAttention.name, "the input must be [N, 3D], it is ", qkv.shape());
  check_sequences<T>(kAttention, n, dim, offsets, heads);
  Tape<T>& tape = qkv.tape();
  const Tensor<T> in = qkv.value(), y = tape.make({n, dim});
  attention_forward(in.data(), offsets.data(), sequences, dim, heads, y.data());
  return tape.record(kAttention, y, {qkv}, [=](const Tensor<T>& dout) {
    const GradTarget<T> target = qkv.grad_target();
    const Tensor<T> dqkv = target.add ? qkv.tape().make({n, 3 * dim}) : Tensor<T>(target.data, {n, 3 * dim});
    attention_backward(in.data(), offsets.data(), sequences, dim, heads, dout.data(), dqkv.data());
    if (!target.add) return;
    parallel_for(0, dqkv.numel(), 32768, [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) target.data[i] += dqkv[i];
    });
  });
}

template <class T>
Variable<T> attention_reference(Variable<T> qkv, Tensor<const int64_t> offsets, int64_t heads) {
  const int64_t n = qkv.rows(), dim = qkv.cols() / 3, d = dim / std::max<int64_t>(heads, 1);
  const int64_t sequences = offsets.numel() - 1, stride = 3 * dim;
  check_sequences<T>(kAttentionReference, n, dim, offsets, heads);
  int64_t pairs = 0;
  for (int64_t s = 0; s < sequences; ++s) pairs += (offsets[s + 1] - offsets[s]) * (offsets[s + 1] - offsets[s]);
  Tape<T>& tape = qkv.tape();
  const Tensor<T> in = qkv.value(), y = tape.make({n, dim}), p = tape.make({heads, pairs});
  const T factor = 1 / std::sqrt(static_cast<T>(d));
  int64_t at = 0;
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t len = offsets[s + 1] - offsets[s];
    for (int64_t h = 0; h < heads && len > 0; ++h) {
      const T* q = in.row(offsets[s]) + h * d;
      T* ph = p.row(h) + at;  // scores = Q K^T / sqrt(d), softmax, out = P V
      gemm<T>(false, true, len, len, d, factor, q, stride, q + dim, stride, 0, ph, len);
      for (int64_t i = 0; i < len; ++i) softmax(ph + i * len, len);
      gemm<T>(false, false, len, d, len, 1, ph, len, q + 2 * dim, stride, 0, y.row(offsets[s]) + h * d, dim);
    }
    at += len * len;
  }
  return tape.record(kAttentionReference, y, {qkv}, [=](const Tensor<T>& dout) {
    const Tensor<T> dqkv = qkv.grad_to_add();
    int64_t start = 0;
    for (int64_t s = 0; s < sequences; ++s) {
      const int64_t len = offsets[s + 1] - offsets[s];
      const Tensor<T> dp = qkv.tape().make({len, len});
      for (int64_t h = 0; h < heads && len > 0; ++h) {
        const T *q = in.row(offsets[s]) + h * d, *ph = p.row(h) + start, *g = dout.data() + offsets[s] * dim + h * d;
        T* dq = dqkv.row(offsets[s]) + h * d;
        gemm<T>(true, false, len, d, len, 1, ph, len, g, dim, 1, dq + 2 * dim, stride);            // dV += P^T dO
        gemm<T>(false, true, len, len, d, 1, g, dim, q + 2 * dim, stride, 0, dp.data(), len);      // dP = dO V^T
        for (int64_t i = 0; i < len; ++i) {
          const T inner = dot(dp.row(i), ph + i * len, len);
          for (int64_t j = 0; j < len; ++j) dp.row(i)[j] = ph[i * len + j] * (dp.row(i)[j] - inner);
        }
        gemm<T>(false, false, len, d, len, factor, dp.data(), len, q + dim, stride, 1, dq, stride);  // dQ += dS K
        gemm<T>(true, false, len, d, len, factor, dp.data(), len, q, stride, 1, dq + dim, stride);   // dK += dS^T Q
      }
      start += len * len;
    }
  });
}

template <class T>
Variable<T> newest_attention(Variable<T> query, Variable<T> x, Variable<T> w, Variable<T> b,
                             Tensor<const int64_t> offsets, int64_t heads) {
  const int64_t sequences = offsets.numel() - 1, dim = x.cols(), d = dim / std::max<int64_t>(heads, 1);
  check_sequences<T>(kNewest, x.rows(), dim, offsets, heads);
  check(query.shape() == Shape{sequences, dim}, kNewest.name, "queries ", query.shape(), " for ", sequences,
        " sequences of width ", dim);
  check(w.shape() == Shape{3 * dim, dim} && b.value().numel() == 3 * dim, kNewest.name, "the projection ", w.shape(),
        " must be [3D, D] with D = ", dim);
  Tape<T>& tape = x.tape();
  const T *wk = w.value().row(dim), *wv = w.value().row(2 * dim), *bv = b.value().data() + 2 * dim;
  const Tensor<T> q = query.value(), xv = x.value(), qk = tape.make({sequences, heads, dim}),
                  pooled = tape.make({sequences, heads, dim}), y = tape.make({sequences, dim});
  const int64_t wide = heads * dim;
  for (int64_t h = 0; h < heads; ++h)  // qk_h = q_h W_k,h
    gemm<T>(false, false, sequences, dim, d, 1, q.data() + h * d, dim, wk + h * d * dim, dim, 0, qk.data() + h * dim,
            wide);
  attention_last_forward(qk.data(), xv.data(), offsets.data(), sequences, dim, heads, pooled.data());
  for (int64_t h = 0; h < heads; ++h)  // out_h = pooled_h W_v,h^T + b_v,h
    gemm<T>(false, true, sequences, d, dim, 1, pooled.data() + h * dim, wide, wv + h * d * dim, dim, 0,
            y.data() + h * d, dim);
  for (int64_t s = 0; s < sequences; ++s) {
    T* row = y.data() + s * dim;
    if (offsets[s] == offsets[s + 1]) std::fill_n(row, dim, T(0));
    else
      for (int64_t j = 0; j < dim; ++j) row[j] += bv[j];
  }

  return tape.record(kNewest, y, {query, x, w, b}, [=](const Tensor<T>& dout) {
    Tape<T>& t = x.tape();
    for (int64_t s = 0; s < sequences; ++s)
      if (offsets[s] == offsets[s + 1]) std::fill_n(dout.row(s), dim, T(0));
    const Tensor<T> dpooled = t.make({sequences, heads, dim}), dqk = t.make({sequences, heads, dim});
    for (int64_t h = 0; h < heads; ++h)
      gemm<T>(false, false, sequences, dim, d, 1, dout.data() + h * d, dim, wv + h * d * dim, dim, 0,
              dpooled.data() + h * dim, wide);
    const GradTarget<T> dx = x.requires_grad() ? x.grad_target() : GradTarget<T>{t.make(x.shape()).data(), false};
    attention_last_backward(qk.data(), xv.data(), offsets.data(), sequences, dim, heads, dpooled.data(), dqk.data(),
                            dx.data, dx.add);
    const GradTarget<T> dq = query.requires_grad() ? query.grad_target() : GradTarget<T>{};
    const Tensor<T> dw = w.requires_grad() ? w.grad_to_add() : Tensor<T>();
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t block = h * d * dim;
      if (dq.data)
        gemm<T>(false, true, sequences, d, dim, 1, dqk.data() + h * dim, wide, wk + block, dim, dq.beta(),
                dq.data + h * d, dim);
      if (!dw) continue;
      gemm<T>(true, false, d, dim, sequences, 1, q.data() + h * d, dim, dqk.data() + h * dim, wide, 1,
              dw.row(dim) + block, dim);
      gemm<T>(true, false, d, dim, sequences, 1, dout.data() + h * d, dim, pooled.data() + h * dim, wide, 1,
              dw.row(2 * dim) + block, dim);
    }
    if (b.requires_grad()) {
      T* db = b.grad_to_add().data() + 2 * dim;
      const T* row = dout.data();
      for (int64_t s = 0; s < sequences; ++s, row += dim)
        for (int64_t j = 0; j < dim; ++j) db[j] += row[j];
    }
  });
}

template <class T>
Variable<T> zero_if_empty(Variable<T> x, Tensor<const int64_t> offsets) {
  const int64_t sequences = offsets.numel() - 1, d = x.cols();
  check(x.rows() == sequences, kZeroIfEmpty.name, x.rows(), " rows for ", sequences, " sequences");
  Tape<T>& tape = x.tape();
  const Tensor<T> y = tape.make(x.shape());
  std::copy(x.value().begin(), x.value().end(), y.data());
  for (int64_t s = 0; s < sequences; ++s)
    if (offsets[s] == offsets[s + 1]) std::fill_n(y.row(s), d, T(0));
  return tape.record(kZeroIfEmpty, y, {x}, [=](const Tensor<T>& dout) {
    const GradTarget<T> dx = x.grad_target();
    for (int64_t s = 0; s < sequences; ++s) {
      const T* from = dout.data() + s * d;
      T* to = dx.data + s * d;
      const bool keep = offsets[s] < offsets[s + 1];
      for (int64_t j = 0; j < d; ++j) to[j] = (dx.add ? to[j] : T(0)) + (keep ? from[j] : T(0));
    }
  });
}

#define TT_INSTANTIATE(T)                                                                         \
  template Variable<T> add_positional(Variable<T>, Tensor<const int64_t>, Tensor<const T>);       \
  template Variable<T> attention(Variable<T>, Tensor<const int64_t>, int64_t);                    \
  template Variable<T> attention_reference(Variable<T>, Tensor<const int64_t>, int64_t);          \
  template Variable<T> newest_attention(Variable<T>, Variable<T>, Variable<T>, Variable<T>,       \
                                        Tensor<const int64_t>, int64_t);                          \
  template Variable<T> zero_if_empty(Variable<T>, Tensor<const int64_t>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
