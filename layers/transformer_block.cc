#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/sequences/segments.h>
#include <twotower/layers/transformer_block.h>

namespace tt {

template <class T>
TransformerBlock<T>::TransformerBlock(ParameterSet<T>& parameters, const std::string& name, int64_t width,
                                      int64_t heads, int64_t distances) {
  norm1_ = LayerNorm<T>(parameters, name + ".norm1", width);
  attention_ = MultiheadAttention<T>(parameters, name + ".attention", width, heads, distances);
  norm2_ = LayerNorm<T>(parameters, name + ".norm2", width);
  wide_ = Linear<T>(parameters, name + ".ffn.0", width, 4 * width);
  narrow_ = Linear<T>(parameters, name + ".ffn.2", 4 * width, width);
}

template <class T>
Variable<T> TransformerBlock<T>::feed_forward(Tape<T>& tape, Variable<T> x) const {
  return add(x, narrow_(tape, {gelu(wide_(tape, {norm2_(tape, x)}))}));
}

template <class T>
Variable<T> TransformerBlock<T>::operator()(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const {
  return feed_forward(tape, add(x, attention_(tape, norm1_(tape, x), offsets)));
}

template <class T>
Variable<T> TransformerBlock<T>::newest(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const {
  const Variable<T> attended = attention_.newest(tape, norm1_(tape, x), offsets);
  return feed_forward(tape, add(segment_first(x, offsets), attended));
}

template class TransformerBlock<float>;
template class TransformerBlock<double>;

}  // namespace tt
