#pragma once
// Adam (Kingma & Ba 2015) and Adagrad (Duchi et al. 2011), with PyTorch's formulas. A dense parameter is updated whole;
// an embedding table only in the rows that the batch looked up, so a step costs the same whatever the table's size.
//
// Lazy Adam differs from dense Adam on rows that a batch does not touch: dense Adam keeps moving them by their decaying
// momentum, lazy Adam leaves them and their moments alone (torch.optim.SparseAdam does the same). The bias correction
// counts all steps in both. Weight decay is decoupled (Loshchilov & Hutter 2019) and meets touched rows only.

#include <twotower/layers/parameter_set.h>
#include <twotower/tensor/safetensors.h>
#include <twotower/train/fit/config.h>

#include <string>
#include <vector>

namespace tt {

class Optimizer {
 public:
  Optimizer(const ParameterSet<float>& parameters, const TrainConfig& config);

  // One update from the gradients of the last backward pass. Parameters that it did not reach stay as they are.
  // Returns the length of the whole gradient before clipping (0 without clip_norm, which is the only reader).
  double step(double learning_rate);

  int64_t steps() const { return steps_; }

  // For resuming: "step" and each state tensor, as PARAMETER.moment1 and so on.
  void add_state(SafetensorsWriter& writer) const;
  void load_state(const SafetensorsFile& file);

 private:
  struct State {
    Parameter<float>* parameter;
    float *first, *second;  // Adam: both moments. Adagrad: the sum of squares, and null
  };
  double gradient_norm() const;

  TrainConfig config_;
  Pool pool_;
  std::vector<State> states_;
  int64_t steps_ = 0;
};

}  // namespace tt
