#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/tensor/gemm.h>

namespace tt {
namespace {

const Op kMatmul("matmul");

template <class T>
void check_matrix(const char* what, const Variable<T>& x) {
  check(x.shape().rank() == 2, kMatmul.name, what, " has shape ", x.shape(), "; it must be a matrix");
}

}  // namespace

template <class T>
Variable<T> matmul(Variable<T> a, Variable<T> b, bool transpose_b) {
  check_matrix("the left factor", a);
  check_matrix("the right factor", b);
  const int64_t m = a.rows(), k = a.cols(), n = transpose_b ? b.rows() : b.cols();
  check(k == (transpose_b ? b.cols() : b.rows()), kMatmul.name, "inner sizes differ: ", a.shape(), " x ", b.shape(),
        transpose_b ? " transposed" : "");
  Tape<T>& tape = a.tape();
  const Tensor<T> av = a.value(), bv = b.value(), y = tape.make({m, n});
  gemm<T>(false, transpose_b, m, n, k, 1, av.data(), k, bv.data(), b.cols(), 0, y.data(), n);
  return tape.record(kMatmul, y, {a, b}, [=](const Tensor<T>& dout) {
    if (const Accumulator<T> da = a.accumulator())  // da += dout * op(b)^T
      gemm<T>(false, !transpose_b, m, k, n, 1, dout.data(), n, bv.data(), b.cols(), 1, da.all(), k);
    if (const Accumulator<T> db = b.accumulator()) {  // db += a^T * dout, or its transpose
      if (transpose_b)
        gemm<T>(true, false, n, k, m, 1, dout.data(), n, av.data(), k, 1, db.all(), k);
      else
        gemm<T>(true, false, k, n, m, 1, av.data(), k, dout.data(), n, 1, db.all(), n);
    }
  });
}

template Variable<float> matmul(Variable<float>, Variable<float>, bool);
template Variable<double> matmul(Variable<double>, Variable<double>, bool);

}  // namespace tt
