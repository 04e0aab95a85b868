#include <twotower/autograd/ops/matrix/linear_blocks.h>
#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/autograd/ops/sequences/attention.h>
#include <twotower/autograd/ops/sequences/offsets.h>
#include <twotower/autograd/ops/sequences/sequence_groups.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/kernels/attention/attention.h>
#include <twotower/tensor/kernels/softmax/softmax.h>

#include <algorithm>
#include <cmath>

namespace tt {
namespace {

const Op kAttention("multihead_attention"), kAttentionReference("attention_reference"), kNewest("newest_attention");

template <class T>
Tensor<const int64_t> checked_sequences(const Op& op, const Variable<T>& x, int64_t dim, Tensor<const int64_t> offsets,
                                        int64_t heads) {
  check(heads >= 1 && dim % heads == 0, op.name, heads, " heads do not divide the width ", dim);
  return checked_offsets(op, x.tape(), offsets, x.rows());
}

template <class T>
void check_distances(const Op& op, const Variable<T>& bias, Tensor<const int64_t> offsets, int64_t heads) {
  if (!bias) return;
  check(bias.value().shape().rank() == 2 && bias.rows() == heads, op.name, "the distance bias ", bias.shape(),
        " must be [", heads, ", distances]");
  for (int64_t s = 0; s + 1 < offsets.numel(); ++s)
    check(offsets[s + 1] - offsets[s] <= bias.cols(), op.name, "sequence ", s, " has ", offsets[s + 1] - offsets[s],
          " rows, the distance bias ", bias.cols(), " distances");
}

}  // namespace

template <class T>
Variable<T> multihead_attention(Variable<T> x, Variable<T> w_in, Variable<T> b_in, Variable<T> w_out, Variable<T> b_out,
                                Tensor<const int64_t> offsets, int64_t heads, Variable<T> distance_bias) {
  const int64_t n = x.rows(), dim = x.cols(), wide = 3 * dim;
  offsets = checked_sequences(kAttention, x, dim, offsets, heads);
  check_distances(kAttention, distance_bias, offsets, heads);
  check(b_in && b_out, kAttention.name, "both projections need their biases");
  check(w_in.shape() == Shape{wide, dim} && b_in.value().numel() == wide, kAttention.name, "the projection ",
        w_in.shape(), " must be [3D, D] with D = ", dim);
  check(w_out.shape() == Shape{dim, dim} && b_out.value().numel() == dim, kAttention.name, "the output projection ",
        w_out.shape(), " must be [D, D] with D = ", dim);
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), y = tape.make({n, dim}), wi = w_in.value(), wo = w_out.value(), bi = b_in.value(),
                  bo = b_out.value();
  const Tensor<T> qkv = tape.make({n, wide}), mixed = tape.make({n, dim}), stats = tape.make({n, 2 * heads});
  const int64_t distances = distance_bias ? distance_bias.cols() : 0;
  kernels::CausalBias<T> causal;
  if (distance_bias) {
    T* tables = tape.arena().template allocate<T>(causal.numbers(heads, distances));
    kernels::make_causal_tables(distance_bias.value().data(), heads, distances, tables);
    causal = {tables, distances};
  }
  const SequenceGroups groups(offsets, dim, tape.arena());
  parallel_for(0, groups.count, 1, [&](int64_t lo, int64_t) {
    const SequenceGroup g(groups, lo);
    T *in = qkv.data() + g.row * wide, *mix = mixed.data() + g.row * dim, *out = y.data() + g.row * dim;
    gemm<T>(false, true, g.rows, wide, dim, 1, xv.data() + g.row * dim, dim, wi.data(), dim, 0, in, wide, bi.data());
    kernels::attention_forward(in, g.offsets, g.sequences, dim, heads, mix, stats.data() + g.row * 2 * heads, causal);
    gemm<T>(false, true, g.rows, dim, dim, 1, mix, dim, wo.data(), dim, 0, out, dim, bo.data());
  });

  return tape.record(kAttention, y, {x, w_in, b_in, w_out, b_out, distance_bias}, [=](const Tensor<T>& dout) {
    // Sums of their own for the parameters' gradients of each chunk of groups: [dW_in | dW_out | db_in |
    // db_out | distance bias].
    const int64_t matrices = (wide + dim) * dim, biases = wide + dim + heads * distances;
    const int64_t stride = matrices + biases, most = most_chunks(stride);
    const int64_t per_chunk = std::max<int64_t>((groups.count + most - 1) / most, 1);
    const int64_t chunks = (groups.count + per_chunk - 1) / per_chunk;
    const Tensor<T> partial = x.tape().make({chunks, stride});
    const Accumulator<T> dx = x.accumulator();
    parallel_for(0, groups.count, per_chunk, [&](int64_t lo, int64_t hi) {
      T *dw_in = partial.data() + lo / per_chunk * stride, *dw_out = dw_in + wide * dim;
      T *db_in = dw_in + matrices, *db_out = db_in + wide, *dbias = causal.tables ? db_out + dim : nullptr;
      std::fill_n(db_in, biases, T(0));
      for (int64_t i = lo; i < hi; ++i) {
        const SequenceGroup g(groups, i);
        auto* dmix = static_cast<T*>(thread_scratch(3, static_cast<size_t>(g.rows * 4 * dim) * sizeof(T)));
        T *dqkv = dmix + g.rows * dim, *dy = dout.data() + g.row * dim;
        const T *in = xv.data() + g.row * dim, *mix = mixed.data() + g.row * dim;
        const T beta = i > lo ? T(1) : T(0);
        kernels::column_sums_to(db_out, dy, g.rows, dim);
        gemm<T>(true, false, dim, dim, g.rows, 1, dy, dim, mix, dim, beta, dw_out, dim);
        gemm<T>(false, false, g.rows, dim, dim, 1, dy, dim, wo.data(), dim, 0, dmix, dim);
        kernels::attention_backward(qkv.data() + g.row * wide, mix, stats.data() + g.row * 2 * heads, g.offsets,
                                    g.sequences, dim, heads, dmix, dqkv, causal, dbias);
        kernels::column_sums_to(db_in, dqkv, g.rows, wide);
        gemm<T>(true, false, wide, dim, g.rows, 1, dqkv, wide, in, dim, beta, dw_in, dim);
        if (dx) add_product(dx, g.row, g.row + g.rows, wide, dqkv, wi.data(), dim);
      }
    });
    const auto add_up = [&](Variable<T> to, int64_t at) {
      if (const Accumulator<T> sum = to.accumulator())
        add_partials(sum, partial.data() + at, chunks, stride, to.numel());
    };
    add_up(w_in, 0), add_up(w_out, wide * dim), add_up(b_in, matrices), add_up(b_out, matrices + wide);
    if (distance_bias) add_up(distance_bias, matrices + wide + dim);
  });
}

template <class T>
Variable<T> attention_reference(Variable<T> qkv, Tensor<const int64_t> offsets, int64_t heads,
                                Variable<T> distance_bias) {
  const int64_t n = qkv.rows(), dim = qkv.cols() / 3, d = dim / std::max<int64_t>(heads, 1);
  const int64_t sequences = offsets.numel() - 1, stride = 3 * dim;
  check(qkv.cols() % 3 == 0, kAttentionReference.name, "the input has ", qkv.cols(), " columns; it must be [N, 3D]");
  offsets = checked_sequences(kAttentionReference, qkv, dim, offsets, heads);
  check_distances(kAttentionReference, distance_bias, offsets, heads);
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
      if (distance_bias)
        for (int64_t i = 0; i < len; ++i)
          for (int64_t j = 0; j < len; ++j) {
            T& score = ph[i * len + j];
            score = j < i ? -std::numeric_limits<T>::infinity() : score + distance_bias.value().row(h)[j - i];
          }
      for (int64_t i = 0; i < len; ++i) kernels::softmax(ph + i * len, len);
      gemm<T>(false, false, len, d, len, 1, ph, len, q + 2 * dim, stride, 0, y.row(offsets[s]) + h * d, dim);
    }
    at += len * len;
  }
  return tape.record(kAttentionReference, y, {qkv, distance_bias}, [=](const Tensor<T>& dout) {
    const Accumulator<T> of_qkv = qkv.accumulator();
    const Tensor<T> dqkv = of_qkv ? Tensor<T>(of_qkv.all(), qkv.shape()) : qkv.tape().make(qkv.shape());
    if (!of_qkv) dqkv.fill(T(0));
    const Accumulator<T> dbias = distance_bias ? distance_bias.accumulator() : Accumulator<T>();
    int64_t start = 0;
    for (int64_t s = 0; s < sequences; ++s) {
      const int64_t len = offsets[s + 1] - offsets[s];
      const Tensor<T> dp = qkv.tape().make({len, len});
      for (int64_t h = 0; h < heads && len > 0; ++h) {
        const T *q = in.row(offsets[s]) + h * d, *ph = p.row(h) + start, *g = dout.data() + offsets[s] * dim + h * d;
        T* dq = dqkv.row(offsets[s]) + h * d;
        gemm<T>(true, false, len, d, len, 1, ph, len, g, dim, 1, dq + 2 * dim, stride);        // dV += P^T dO
        gemm<T>(false, true, len, len, d, 1, g, dim, q + 2 * dim, stride, 0, dp.data(), len);  // dP = dO V^T
        for (int64_t i = 0; i < len; ++i) {
          const T inner = dot(dp.row(i), ph + i * len, len);
          for (int64_t j = 0; j < len; ++j) dp.row(i)[j] = ph[i * len + j] * (dp.row(i)[j] - inner);
          if (dbias)
            for (int64_t j = i; j < len; ++j) dbias.all()[h * distance_bias.cols() + j - i] += dp.row(i)[j];
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
                             Tensor<const int64_t> offsets, int64_t heads, Variable<T> distance_bias) {
  const int64_t sequences = offsets.numel() - 1, dim = x.cols(), d = dim / std::max<int64_t>(heads, 1);
  offsets = checked_sequences(kNewest, x, dim, offsets, heads);
  check_distances(kNewest, distance_bias, offsets, heads);
  const T* bias = distance_bias ? distance_bias.value().data() : nullptr;
  const int64_t distances = distance_bias ? distance_bias.cols() : 0;
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
  kernels::attention_last_forward(qk.data(), xv.data(), offsets.data(), sequences, dim, heads, pooled.data(), bias,
                                  distances);
  for (int64_t h = 0; h < heads; ++h)  // out_h = pooled_h W_v,h^T + b_v,h
    gemm<T>(false, true, sequences, d, dim, 1, pooled.data() + h * dim, wide, wv + h * d * dim, dim, 0,
            y.data() + h * d, dim);
  for (int64_t s = 0; s < sequences; ++s) {
    T* row = y.data() + s * dim;
    if (offsets[s] == offsets[s + 1])
      std::fill_n(row, dim, T(0));
    else
      for (int64_t j = 0; j < dim; ++j) row[j] += bv[j];
  }

  return tape.record(kNewest, y, {query, x, w, b, distance_bias}, [=](const Tensor<T>& dout) {
    Tape<T>& t = x.tape();
    for (int64_t s = 0; s < sequences; ++s)
      if (offsets[s] == offsets[s + 1]) std::fill_n(dout.row(s), dim, T(0));
    const Tensor<T> dpooled = t.make({sequences, heads, dim}), dqk = t.make({sequences, heads, dim});
    for (int64_t h = 0; h < heads; ++h)
      gemm<T>(false, false, sequences, dim, d, 1, dout.data() + h * d, dim, wv + h * d * dim, dim, 0,
              dpooled.data() + h * dim, wide);
    const Accumulator<T> dx = x.accumulator(), dq = query.accumulator(), dw = w.accumulator(), db = b.accumulator();
    const Accumulator<T> dbias = distance_bias ? distance_bias.accumulator() : Accumulator<T>();
    const Tensor<T> dscores = dbias ? t.make({x.rows(), heads}) : Tensor<T>();
    kernels::attention_last_backward(qk.data(), xv.data(), offsets.data(), sequences, dim, heads, dpooled.data(),
                                     dqk.data(), dx ? dx.all() : nullptr, bias, distances, dscores.data());
    if (dbias)
      for (int64_t s = 0; s < sequences; ++s)
        for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r)
          for (int64_t h = 0; h < heads; ++h) dbias.all()[h * distances + r - offsets[s]] += dscores.row(r)[h];
    T *dquery = dq ? dq.all() : nullptr, *dweight = dw ? dw.all() : nullptr;
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t block = h * d * dim;
      if (dq)
        gemm<T>(false, true, sequences, d, dim, 1, dqk.data() + h * dim, wide, wk + block, dim, 1, dquery + h * d, dim);
      if (!dw) continue;
      gemm<T>(true, false, d, dim, sequences, 1, q.data() + h * d, dim, dqk.data() + h * dim, wide, 1,
              dweight + dim * dim + block, dim);
      gemm<T>(true, false, d, dim, sequences, 1, dout.data() + h * d, dim, pooled.data() + h * dim, wide, 1,
              dweight + 2 * dim * dim + block, dim);
    }
    if (db) kernels::column_sums_to(db.all() + 2 * dim, dout.data(), sequences, dim);
  });
}

#define TT_INSTANTIATE(T)                                                                                          \
  template Variable<T> multihead_attention(Variable<T>, Variable<T>, Variable<T>, Variable<T>, Variable<T>,        \
                                           Tensor<const int64_t>, int64_t, Variable<T>);                           \
  template Variable<T> attention_reference(Variable<T>, Tensor<const int64_t>, int64_t, Variable<T>);              \
  template Variable<T> newest_attention(Variable<T>, Variable<T>, Variable<T>, Variable<T>, Tensor<const int64_t>, \
                                        int64_t, Variable<T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
