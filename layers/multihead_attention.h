#pragma once
// Multi-head self-attention with input and output projections (Vaswani et al. 2017), over ragged sequences.
// Parameters, as torch.nn.MultiheadAttention names them: NAME.in_proj_weight [3D, D], NAME.in_proj_bias [3D],
// NAME.out_proj.{weight,bias}; of a causal layer also NAME.distance_bias [heads, distances].

#include <twotower/layers/linear.h>

namespace tt {

template <class T>
class MultiheadAttention {
 public:
  MultiheadAttention() = default;
  // distances > 0: causal, a row attends to itself and to older ones, with a learnt bias for each distance up to that.
  MultiheadAttention(ParameterSet<T>& parameters, const std::string& name, int64_t width, int64_t heads,
                     int64_t distances = 0);

  // x: [N, D] -> [N, D].
  Variable<T> operator()(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const;
  // The result for the newest row of each sequence only, [S, D]: one query a sequence, keys and values folded away.
  Variable<T> newest(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const;
  // The same two results by plain ops that keep everything: the reference.
  Variable<T> reference(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const;

 private:
  Variable<T> distance_bias(Tape<T>& tape) const {
    return distance_bias_ ? tape.parameter(*distance_bias_) : Variable<T>();
  }

  int64_t width_ = 0, heads_ = 1;
  Parameter<T>* in_weight_ = nullptr;
  Parameter<T>* in_bias_ = nullptr;
  Parameter<T>* distance_bias_ = nullptr;
  Linear<T> out_;
};

}  // namespace tt
