#pragma once
// Turns the items a user acted on, newest first and of any number, into two vectors of width DI:
//   mean      the average of their embeddings (zero for an empty history)
//   attended  the newest row after x + positional encoding and L layers of multi-head self-attention
// Rows count from the newest, so the newest item of any history meets the same positional encoding.
// A causal encoder (config.causal) has neither row nor encoding read what is newer, so that each row gives both vectors
// of the user as of then: `attended` is then that row's, `mean` that of the row and all older ones.

#include <twotower/layers/multihead_attention.h>
#include <twotower/layers/transformer_block.h>
#include <twotower/models/batch.h>
#include <twotower/models/config.h>

namespace tt {

template <class T>
class HistoryEncoder {
 public:
  HistoryEncoder(ParameterSet<T>& parameters, const std::string& name, const ModelConfig& config,
                 Parameter<T>* item_table);

  struct Output {
    Variable<T> attended, mean;  // [B, DI] each, or of moments [M, DI]
  };
  Output operator()(Tape<T>& tape, const UserInputs<T>& users) const;
  // The same by plain ops over all rows and all layers, the newest row read at the end: what the fast path must match.
  Output reference(Tape<T>& tape, const UserInputs<T>& users) const;

 private:
  // Embeddings of the history items, fused with the user's actions on them if the model has those. [N, DI]
  Variable<T> items(Tape<T>& tape, const UserInputs<T>& users) const;

  Pool pool_;
  Tensor<T> positional_;  // [capacity, DI]
  Parameter<T>* item_table_;
  int64_t action_kinds_;
  Parameter<T>* action_table_ = nullptr;  // E_action [A, DI]
  Linear<T> fuse_;                        // 2 DI -> DI
  std::vector<MultiheadAttention<T>> attention_;
  std::vector<TransformerBlock<T>> blocks_;
};

}  // namespace tt
