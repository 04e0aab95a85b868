#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/sequences/attention.h>
#include <twotower/autograd/ops/sequences/segments.h>
#include <twotower/layers/multihead_attention.h>

namespace tt {

template <class T>
MultiheadAttention<T>::MultiheadAttention(ParameterSet<T>& parameters, const std::string& name, int64_t width,
                                          int64_t heads, int64_t distances)
    : width_(width), heads_(heads) {
  check(heads >= 1 && width % heads == 0, "config", "attention_heads = ", heads, " does not divide the item width ",
        width, "; choose a divisor of it");
  in_weight_ = parameters.add(name + ".in_proj_weight", {3 * width, width}, Initializer::xavier(width, 3 * width));
  in_bias_ = parameters.add(name + ".in_proj_bias", {3 * width}, Initializer::constant(0));
  out_ = Linear<T>(parameters, name + ".out_proj", width, width);
  if (!parameters.given()) out_.bias->value.fill(T(0));
  if (distances > 0)
    distance_bias_ = parameters.add(name + ".distance_bias", {heads, distances}, Initializer::constant(0));
}

template <class T>
Variable<T> MultiheadAttention<T>::operator()(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const {
  return multihead_attention(x, tape.parameter(*in_weight_), tape.parameter(*in_bias_), tape.parameter(*out_.weight),
                             tape.parameter(*out_.bias), offsets, heads_, distance_bias(tape));
}

template <class T>
Variable<T> MultiheadAttention<T>::newest(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const {
  const Variable<T> w = tape.parameter(*in_weight_), b = tape.parameter(*in_bias_);
  const Variable<T> query = linear({segment_first(x, offsets)}, slice_rows(w, 0, width_), slice_rows(b, 0, width_));
  return out_(tape, {newest_attention(query, x, w, b, offsets, heads_, distance_bias(tape))});
}

template <class T>
Variable<T> MultiheadAttention<T>::reference(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const {
  const Variable<T> qkv = matmul(x, tape.parameter(*in_weight_), true) + tape.parameter(*in_bias_);
  const Variable<T> heads = attention_reference(qkv, offsets, heads_, distance_bias(tape));
  return matmul(heads, tape.parameter(*out_.weight), true) + tape.parameter(*out_.bias);
}

template class MultiheadAttention<float>;
template class MultiheadAttention<double>;

}  // namespace tt
