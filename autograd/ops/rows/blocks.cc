#include <twotower/autograd/ops/rows/blocks.h>
#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/autograd/ops/rows/row_loop.h>

namespace tt {
namespace {

const Op kBlockDot("block_dot"), kBlockCombine("block_combine");

}  // namespace

template <class T>
Variable<T> block_dot(Variable<T> blocks, Variable<T> v) {
  const int64_t m = v.rows(), d = v.cols(), k = blocks.cols() / std::max<int64_t>(d, 1);
  check(blocks.rows() == m && k * d == blocks.cols(), kBlockDot.name, "blocks ", blocks.shape(),
        " do not fit the vectors ", v.shape());
  Tape<T>& tape = v.tape();
  const Tensor<T> uv = blocks.value(), vv = v.value(), y = tape.make({m, k});
  for_each_row(m, k * d, [&](int64_t i) {
    for (int64_t b = 0; b < k; ++b) y.row(i)[b] = dot(uv.row(i) + b * d, vv.row(i), d);
  });
  return tape.record(kBlockDot, y, {blocks, v}, [=](const Tensor<T>& dout) {
    add_each_row(blocks.accumulator(), [&](int64_t i, T* du) {
      for (int64_t b = 0; b < k; ++b) add_times(du + b * d, vv.row(i), dout.row(i)[b], d);
    });
    add_each_row(v.accumulator(), [&](int64_t i, T* dv) {
      for (int64_t b = 0; b < k; ++b) add_times(dv, uv.row(i) + b * d, dout.row(i)[b], d);
    });
  });
}

template <class T>
Variable<T> block_combine(Variable<T> weights, Variable<T> blocks) {
  const int64_t m = weights.rows(), k = weights.cols(), d = blocks.cols() / std::max<int64_t>(k, 1);
  check(blocks.rows() == m && k * d == blocks.cols(), kBlockCombine.name, "blocks ", blocks.shape(),
        " do not fit the weights ", weights.shape());
  Tape<T>& tape = weights.tape();
  const Tensor<T> wv = weights.value(), uv = blocks.value(), y = tape.make({m, d});
  for_each_row(m, k * d, [&](int64_t i) {
    std::fill_n(y.row(i), d, T(0));
    for (int64_t b = 0; b < k; ++b) add_times(y.row(i), uv.row(i) + b * d, wv.row(i)[b], d);
  });
  return tape.record(kBlockCombine, y, {weights, blocks}, [=](const Tensor<T>& dout) {
    add_each_row(weights.accumulator(), [&](int64_t i, T* dw) {
      for (int64_t b = 0; b < k; ++b) dw[b] += dot(dout.row(i), uv.row(i) + b * d, d);
    });
    add_each_row(blocks.accumulator(), [&](int64_t i, T* du) {
      for (int64_t b = 0; b < k; ++b) add_times(du + b * d, dout.row(i), wv.row(i)[b], d);
    });
  });
}

#define TT_INSTANTIATE(T)                                   \
  template Variable<T> block_dot(Variable<T>, Variable<T>); \
  template Variable<T> block_combine(Variable<T>, Variable<T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
