#pragma once
// An exponential moving average of the weights (Polyak & Juditsky 1992; Morales-Brotons et al. 2024,
// "Exponential moving average of weights in deep learning"): after T steps
//
//   average = (1 - decay) * sum_{s=1..T} decay^(T-s) w_s / (1 - decay^T)
//
// of the weights w_s that step s left, without the initial ones. What is evaluated and saved is the average,
// while training goes on from the weights themselves.
//
// A row that k steps did not touch stood still in them, and what they add to its sum is (1 - decay^k)
// w in one go: so the average is exact, and a step costs what the rows it touches cost, never the table.

#include <twotower/autograd/gradients.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/tensor/memory.h>

#include <vector>

namespace tt {

class WeightAverage {
 public:
  // Averages these parameters, which must outlive it. decay: in (0, 1).
  WeightAverage(const std::vector<Parameter<float>*>& parameters, double decay);

  // Before the optimizer changes what these gradients name: counts the weights as they are for all steps since
  // they last changed. `done`: steps that the optimizer has made so far.
  void before_step(int64_t done, const Gradients<float>& gradients);

  // Puts the averages after `done` >= 1 steps in the place of the weights, and takes them back, bit by bit.
  void apply(int64_t done);
  void restore();

  // For resuming: PARAMETER.average and PARAMETER.counted.
  void add_state(SafetensorsWriter& writer) const;
  void load_state(const SafetensorsFile& file);

 private:
  struct State {
    Parameter<float>* parameter;
    float *sum, *kept;     // the weighted sum, and the weights while the average stands in their place
    int64_t* counted;      // [units] the sum has the weights of steps up to this
    int64_t units, width;  // rows and their length; one unit for what is no matrix
  };
  void count(const State& state, int64_t unit, int64_t done) const;

  double decay_;
  bool applied_ = false;
  Pool pool_;
  std::vector<State> states_;
};

// Averages while it lives; does nothing for a null average.
class [[nodiscard]] AveragedWeights {
 public:
  AveragedWeights(WeightAverage* average, int64_t done) : average_(average) {
    if (average_) average_->apply(done);
  }
  ~AveragedWeights() {
    if (average_) average_->restore();
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  WeightAverage* average_;
};

}  // namespace tt
