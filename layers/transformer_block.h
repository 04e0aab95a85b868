#pragma once
// A pre-norm transformer block (Xiong et al. 2020): x + attention(norm(x)), then x + ffn(norm(x)) with a GELU in a
// feed-forward layer four times as wide. Parameters: NAME.norm1, NAME.attention, NAME.norm2, NAME.ffn.{0,2}.

#include <twotower/layers/layer_norm.h>
#include <twotower/layers/multihead_attention.h>

namespace tt {

template <class T>
class TransformerBlock {
 public:
  TransformerBlock() = default;
  // distances > 0: its attention is causal (multihead_attention.h).
  TransformerBlock(ParameterSet<T>& parameters, const std::string& name, int64_t width, int64_t heads,
                   int64_t distances = 0);

  Variable<T> operator()(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const;
  // The result for the newest row of each sequence only, [S, D].
  Variable<T> newest(Tape<T>& tape, Variable<T> x, Tensor<const int64_t> offsets) const;

 private:
  Variable<T> feed_forward(Tape<T>& tape, Variable<T> x) const;

  LayerNorm<T> norm1_, norm2_;
  MultiheadAttention<T> attention_;
  Linear<T> wide_, narrow_;
};

}  // namespace tt
