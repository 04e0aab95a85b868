#include <twotower/autograd/ops/elementwise.h>
#include <twotower/autograd/ops/reduce.h>
#include <twotower/layers/transformer_block.h>

namespace tt {

template <class T>
TransformerBlock<T>::TransformerBlock(ParameterSet<T>& parameters, const std::string& name, int64_t width,
                                      int64_t heads) {
  const auto add_norm = [&](const std::string& norm_name) {
    return LayerNorm{parameters.add(norm_name + ".weight", {width}, Initializer::constant(1)),
                     parameters.add(norm_name + ".bias", {width}, Initializer::constant(0))};
  };
  norm1_ = add_norm(name + ".norm1");
  attention_ = MultiheadAttention<T>(parameters, name + ".attention", width, heads);
  norm2_ = add_norm(name + ".norm2");
  wide_ = Linear<T>(parameters, name + ".ffn.0", width, 4 * width);
  narrow_ = Linear<T>(parameters, name + ".ffn.2", 4 * width, width);
}

template <class T>
Variable<T> TransformerBlock<T>::norm(Tape<T>& tape, Variable<T> x, const LayerNorm& n) const {
  return layer_norm(x, tape.parameter(*n.gain), tape.parameter(*n.bias));
}

template <class T>
Variable<T> TransformerBlock<T>::feed_forward(Tape<T>& tape, Variable<T> x) const {
  return add(x, narrow_(tape, {gelu(wide_(tape, {norm(tape, x, norm2_)}))}));
}

template <class T>
Variable<T> TransformerBlock<T>::operator()(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const {
  return feed_forward(tape, add(x, attention_(tape, norm(tape, x, norm1_), offsets)));
}

template <class T>
Variable<T> TransformerBlock<T>::newest(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const {
  const Variable<T> attended = attention_.newest(tape, norm(tape, x, norm1_), offsets);
  return feed_forward(tape, add(segment_first(x, offsets), attended));
}

template class TransformerBlock<float>;
template class TransformerBlock<double>;

}  // namespace tt
