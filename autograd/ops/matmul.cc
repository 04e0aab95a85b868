#include <twotower/autograd/ops/linear_blocks.h>
#include <twotower/autograd/ops/matmul.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>

namespace tt {
namespace {

const Op kMatmul("matmul"), kLinear("linear"), kAddBias("add_bias"), kConcat("concat_columns"), kSlice("slice_columns");

// Rows that pass through a layer together: few enough that their inputs, outputs and gradients wait in the L2 cache
// from one use to the next, many enough for a matrix product to run at full speed.
constexpr int64_t kBlockRows = 256;
int64_t chunk_rows(int64_t m) {
  const int64_t blocks = (m + kBlockRows - 1) / kBlockRows;
  return std::max<int64_t>((blocks + kMaxChunks - 1) / kMaxChunks, 1) * kBlockRows;
}

template <class T>
void column_sums(const Tensor<T>& dout, GradTarget<T> db, Arena& arena) {
  const int64_t m = dout.rows(), n = dout.cols(), chunk = chunk_rows(m), chunks = (m + chunk - 1) / chunk;
  const Tensor<T> partial = make_tensor<T>(arena, {chunks, n});
  partial.fill(T(0));
  parallel_for(0, m, chunk, [&](int64_t lo, int64_t hi) {
    add_column_sums(dout.data() + lo * n, hi - lo, n, partial.data() + lo / chunk * n);
  });
  add_partials(db, partial.data(), chunks, n, n);
}

template <class T>
void check_rank2(const Op& op, const char* what, const Variable<T>& x) {
  check(x.shape().rank() == 2, op.name, what, " has shape ", x.shape(), "; it must be a matrix");
}

}  // namespace

template <class T>
Variable<T> matmul(Variable<T> a, Variable<T> b, bool transpose_b) {
  check_rank2(kMatmul, "the left factor", a);
  check_rank2(kMatmul, "the right factor", b);
  const int64_t m = a.rows(), k = a.cols(), n = transpose_b ? b.rows() : b.cols();
  check(k == (transpose_b ? b.cols() : b.rows()), kMatmul.name, "inner sizes differ: ", a.shape(), " x ", b.shape(),
        transpose_b ? " transposed" : "");
  Tape<T>& tape = a.tape();
  const Tensor<T> av = a.value(), bv = b.value(), y = tape.make({m, n});
  gemm<T>(false, transpose_b, m, n, k, 1, av.data(), k, bv.data(), b.cols(), 0, y.data(), n);
  return tape.record(kMatmul, y, {a, b}, [=](const Tensor<T>& dout) {
    if (a.requires_grad()) {  // da = dout * op(b)^T
      const GradTarget<T> da = a.grad_target();
      gemm<T>(false, !transpose_b, m, k, n, 1, dout.data(), n, bv.data(), b.cols(), da.beta(), da.data, k);
    }
    if (b.requires_grad()) {  // db = a^T * dout, or its transpose
      const GradTarget<T> db = b.grad_target();
      if (transpose_b)
        gemm<T>(true, false, n, k, m, 1, dout.data(), n, av.data(), k, db.beta(), db.data, k);
      else
        gemm<T>(true, false, k, n, m, 1, av.data(), k, dout.data(), n, db.beta(), db.data, n);
    }
  });
}

template <class T>
Variable<T> linear(std::initializer_list<Variable<T>> x, Variable<T> w, Variable<T> b, Activation activation) {
  return linear(x.begin(), static_cast<int>(x.size()), w, b, activation);
}

template <class T>
Variable<T> linear(const Variable<T>* x, int count, Variable<T> w, Variable<T> b, Activation activation) {
  constexpr int kMaxParts = Node<T>::kMaxInputs - 2;
  check(count >= 1 && count <= kMaxParts, kLinear.name, count, " input blocks; 1 to ", kMaxParts, " are supported");
  check_rank2(kLinear, "the weight", w);
  const int64_t m = x[0].rows(), n = w.rows(), k = w.cols();
  int64_t width = 0;
  for (int i = 0; i < count; ++i) {
    check(x[i].rows() == m, kLinear.name, "input block ", i, " has ", x[i].rows(), " rows, block 0 has ", m);
    width += x[i].cols();
  }
  check(width == k, kLinear.name, "the input has ", width, " columns, the weight ", w.shape(), " expects ", k);
  check(!b || b.value().numel() == n, kLinear.name, "the bias must have ", n, " elements");

  Tape<T>& tape = w.tape();
  struct Parts {
    Variable<T> x[kMaxParts];
    int count;
  } parts{{}, count};
  Variable<T> inputs[kMaxParts + 2];
  for (int i = 0; i < count; ++i) inputs[i] = parts.x[i] = x[i];
  inputs[count] = w;
  inputs[count + 1] = b;

  const Tensor<T> wv = w.value(), y = tape.make({m, n});
  const bool relu = activation == Activation::relu;
  const T* bias = b ? b.value().data() : nullptr;
  parallel_for(0, m, kBlockRows, [&](int64_t lo, int64_t hi) {
    T* out = y.data() + lo * n;
    int64_t column = 0;
    for (int i = 0; i < count; ++i) {
      const int64_t width_i = x[i].cols();
      const bool last = i + 1 == count;
      gemm<T>(false, true, hi - lo, n, width_i, 1, x[i].value().data() + lo * width_i, width_i, wv.data() + column, k,
              i > 0, out, n, last ? bias : nullptr, last && relu);
      column += width_i;
    }
  });

  // One pass over dout: while a block of its rows is in the cache, it serves the activation, dx, dW and db.
  return tape.record(kLinear, y, inputs, count + 2, [=](const Tensor<T>& dout) {
    const int64_t chunk = chunk_rows(m), chunks = (m + chunk - 1) / chunk, weights = n * k, stride = weights + n;
    const GradTarget<T> dw = w.requires_grad() ? w.grad_target() : GradTarget<T>{};
    const GradTarget<T> db = b.requires_grad() ? b.grad_target() : GradTarget<T>{};
    GradTarget<T> dx[kMaxParts] = {};
    for (int i = 0; i < parts.count; ++i)
      if (parts.x[i].requires_grad()) dx[i] = parts.x[i].grad_target();
    const Tensor<T> partial = w.tape().make({chunks, stride});  // [dW | db] of each chunk
    parallel_for(0, m, chunk, [&](int64_t first, int64_t last) {
      T *dw_sum = partial.data() + first / chunk * stride, *db_sum = dw_sum + weights;
      std::fill_n(db_sum, n, T(0));
      for (int64_t lo = first; lo < last; lo += kBlockRows) {
        const int64_t rows = std::min(kBlockRows, last - lo);
        T* g = dout.data() + lo * n;
        const T* out = y.data() + lo * n;
        if (relu) relu_backward(g, g, out, rows * n);  // y > 0 exactly where the gradient passes
        if (db.data) add_column_sums(g, rows, n, db_sum);
        int64_t column = 0;
        for (int i = 0; i < parts.count; ++i) {
          const int64_t width_i = parts.x[i].cols();
          if (dw.data)  // dW[:, block] += dout^T * x_i
            gemm<T>(true, false, n, width_i, rows, 1, g, n, parts.x[i].value().data() + lo * width_i, width_i,
                    lo > first, dw_sum + column, k);
          if (dx[i].data)  // dx_i = dout * W[:, block]
            gemm<T>(false, false, rows, width_i, n, 1, g, n, wv.data() + column, k, dx[i].beta(),
                    dx[i].data + lo * width_i, width_i);
          column += width_i;
        }
      }
    });
    if (dw.data) add_partials(dw, partial.data(), chunks, stride, weights);
    if (db.data) add_partials(db, partial.data() + weights, chunks, stride, n);
  });
}

template <class T>
Variable<T> add_bias(Variable<T> x, Variable<T> b) {
  check(b.value().numel() == x.cols(), kAddBias.name, "the bias must have ", x.cols(), " elements, it has ",
        b.value().numel());
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape());
  const int64_t n = x.cols();
  std::copy(xv.begin(), xv.end(), y.data());
  add_bias_rows(y.data(), b.value().data(), x.rows(), n);
  return tape.record(kAddBias, y, {x, b}, [=](const Tensor<T>& dout) {
    if (x.requires_grad()) {
      const GradTarget<T> dx = x.grad_target();
      for (int64_t i = 0; i < dout.numel(); ++i) dx.data[i] = (dx.add ? dx.data[i] : T(0)) + dout[i];
    }
    if (b.requires_grad()) column_sums(dout, b.grad_target(), x.tape().arena());
  });
}

template <class T>
Variable<T> concat_columns(std::initializer_list<Variable<T>> x) {
  const Variable<T> first = *x.begin();
  const int64_t m = first.rows();
  int64_t n = 0;
  for (const auto& part : x) {
    check(part.rows() == m, kConcat.name, "row counts differ: ", first.shape(), " and ", part.shape());
    n += part.cols();
  }
  Tape<T>& tape = first.tape();
  const Tensor<T> y = tape.make({m, n});
  struct Parts {
    Variable<T> x[Node<T>::kMaxInputs];
    int count = 0;
  } parts;
  int64_t at = 0;
  for (const auto& part : x) {
    for (int64_t i = 0; i < m; ++i) std::copy_n(part.value().row(i), part.cols(), y.row(i) + at);
    at += part.cols();
    parts.x[parts.count++] = part;
  }
  return tape.record(kConcat, y, x, [=](const Tensor<T>& dout) {
    int64_t column = 0;
    for (int p = 0; p < parts.count; ++p) {
      const Variable<T>& part = parts.x[p];
      const int64_t width = part.cols();
      if (part.requires_grad()) {
        const GradTarget<T> dx = part.grad_target();
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < width; ++j) {
            T& to = dx.data[i * width + j];
            to = (dx.add ? to : T(0)) + dout.row(i)[column + j];
          }
      }
      column += width;
    }
  });
}

template <class T>
Variable<T> slice_columns(Variable<T> x, int64_t begin, int64_t end) {
  check(0 <= begin && begin <= end && end <= x.cols(), kSlice.name, "columns [", begin, ", ", end, ") of ", x.shape());
  Tape<T>& tape = x.tape();
  const int64_t m = x.rows(), n = end - begin;
  const Tensor<T> y = tape.make({m, n});
  for (int64_t i = 0; i < m; ++i) std::copy_n(x.value().row(i) + begin, n, y.row(i));
  return tape.record(kSlice, y, {x}, [=](const Tensor<T>& dout) {
    const Tensor<T> dx = x.grad_to_add();
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) dx.row(i)[begin + j] += dout.row(i)[j];
  });
}

#define TT_INSTANTIATE(T)                                                                                \
  template Variable<T> matmul(Variable<T>, Variable<T>, bool);                                           \
  template Variable<T> linear(std::initializer_list<Variable<T>>, Variable<T>, Variable<T>, Activation); \
  template Variable<T> linear(const Variable<T>*, int, Variable<T>, Variable<T>, Activation);            \
  template Variable<T> add_bias(Variable<T>, Variable<T>);                                               \
  template Variable<T> concat_columns(std::initializer_list<Variable<T>>);                               \
  template Variable<T> slice_columns(Variable<T>, int64_t, int64_t);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
