#include <twotower/autograd/ops/matrix/linear.h>
#include <twotower/autograd/ops/matrix/linear_blocks.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/threads/parallel.h>

#include <optional>

namespace tt {
namespace {

const Op kLinear("linear");

int64_t chunk_rows(int64_t m, int64_t weights) {
  const int64_t blocks = (m + kBlockRows - 1) / kBlockRows, most = most_chunks(weights);
  return std::max<int64_t>((blocks + most - 1) / most, 1) * kBlockRows;
}

}  // namespace

template <class T>
Variable<T> linear(std::initializer_list<Variable<T>> x, Variable<T> w, Variable<T> b, Activation activation) {
  return linear(x.begin(), static_cast<int>(x.size()), w, b, activation);
}

template <class T>
Variable<T> linear(const Variable<T>* x, int count, Variable<T> w, Variable<T> b, Activation activation) {
  constexpr int kMaxParts = Node<T>::kMaxInputs - 2;
  check(count >= 1 && count <= kMaxParts, kLinear.name, count, " input blocks; 1 to ", kMaxParts, " are supported");
  check(w.shape().rank() == 2, kLinear.name, "the weight has shape ", w.shape(), "; it must be a matrix");
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
    const int64_t weights = n * k, stride = weights + n;
    const int64_t chunk = chunk_rows(m, weights), chunks = (m + chunk - 1) / chunk;
    const Accumulator<T> dw = w.accumulator(), db = b.accumulator();
    Accumulator<T> dx[kMaxParts] = {};
    std::optional<ThreadScope> serial;  // where two blocks are slices of one tensor that overlap
    for (int i = 0; i < parts.count; ++i) {
      dx[i] = parts.x[i].accumulator();
      for (int j = 0; j < i; ++j)
        if (!serial && dx[i].crosses(dx[j])) serial.emplace(1);
    }
    const Tensor<T> partial = w.tape().make({chunks, stride});  // [dW | db] of each chunk
    parallel_for(0, m, chunk, [&](int64_t first, int64_t last) {
      T *dw_sum = partial.data() + first / chunk * stride, *db_sum = dw_sum + weights;
      std::fill_n(db_sum, n, T(0));
      for (int64_t lo = first; lo < last; lo += kBlockRows) {
        const int64_t hi = std::min(lo + kBlockRows, last);
        T* g = dout.data() + lo * n;
        if (relu)
          kernels::relu_backward(g, g, y.data() + lo * n, (hi - lo) * n);  // y > 0 exactly where the gradient passes
        if (db) kernels::column_sums_to(db_sum, g, hi - lo, n);
        int64_t column = 0;
        for (int i = 0; i < parts.count; ++i) {
          const int64_t width_i = parts.x[i].cols();
          if (dw)  // dW[:, block] += dout^T * x_i
            gemm<T>(true, false, n, width_i, hi - lo, 1, g, n, parts.x[i].value().data() + lo * width_i, width_i,
                    lo > first, dw_sum + column, k);
          if (dx[i])  // dx_i += dout * W[:, block]
            add_product(dx[i], lo, hi, n, g, wv.data() + column, k);
          column += width_i;
        }
      }
    });
    if (dw) add_partials(dw, partial.data(), chunks, stride, weights);
    if (db) add_partials(db, partial.data() + weights, chunks, stride, n);
  });
}

#define TT_INSTANTIATE(T)                                                                                \
  template Variable<T> linear(std::initializer_list<Variable<T>>, Variable<T>, Variable<T>, Activation); \
  template Variable<T> linear(const Variable<T>*, int, Variable<T>, Variable<T>, Activation);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
