#pragma once
// Multi-head self-attention with input and output projections (Vaswani et al. 2017), over ragged sequences.
// Parameters, as torch.nn.MultiheadAttention names them: NAME.in_proj_weight [3D, D], NAME.in_proj_bias [3D],
// NAME.out_proj.{weight,bias}.

#include <twotower/layers/linear.h>

namespace tt {

template <class T>
class MultiheadAttention {
 public:
  MultiheadAttention() = default;
  MultiheadAttention(ParameterSet<T>& parameters, const std::string& name, int64_t width, int64_t heads);

  // x: [N, D] -> [N, D].
  Variable<T> operator()(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const;
  // The result for the newest row of each sequence only, [S, D]: one query a sequence, keys and values folded away.
  Variable<T> newest(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const;
  // The same two results by plain ops that keep everything: the reference.
  Variable<T> reference(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const;

 private:
  int64_t width_ = 0, heads_ = 1;
  Parameter<T>* in_weight_ = nullptr;
  Parameter<T>* in_bias_ = nullptr;
  Linear<T> out_;
};

}  // namespace tt
