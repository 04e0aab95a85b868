#pragma once
// What optimizers share: a step from the gradients of a backward pass, the state that lies beside each parameter, and
// its way into a file and back.
//
//   Adam<float> adam({.learning_rate = 1e-3});
//   adam.step(parameters, tape.backward(loss));
//
// A parameter that the gradients do not name stays as it is, state included. One with a dense gradient is updated
// whole; a table that was only looked up in the touched rows alone, so that a step costs the same whatever the table's
// size. There lazy differs from dense: a dense optimizer with momentum keeps moving rows that a batch does not touch,
// and lets their moments decay; a lazy one leaves both alone (as torch.optim.SparseAdam does). Bias correction counts
// all steps in both, and weight decay, which is decoupled (Loshchilov & Hutter 2019), meets touched rows only.

#include <twotower/autograd/gradients.h>
#include <twotower/tensor/files/safetensors.h>

#include <string>
#include <vector>

namespace tt {

template <class T>
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // One update of these parameters. grad_scale multiplies every gradient, for clipping: min(1, most /
  // gradients.norm()).
  void step(const std::vector<Parameter<T>*>& parameters, const Gradients<T>& gradients, double grad_scale = 1);

  void set_learning_rate(double rate) { learning_rate_ = rate; }
  // Times the learning rate, for one parameter: small estimators beside the towers settle faster.
  void set_rate_scale(const Parameter<T>& parameter, double scale) { state_of(parameter).rate_scale = scale; }

  int64_t steps() const { return steps_; }

  // For resuming: "step", and each state tensor as PARAMETER.STATE, such as PARAMETER.moment1. What no step has met yet
  // has zeros. Loading throws Error for a file that lacks one or has it in another size.
  void add_state(SafetensorsWriter& writer, const std::vector<Parameter<T>*>& parameters);
  void load_state(const SafetensorsFile& file, const std::vector<Parameter<T>*>& parameters);

 protected:
  static constexpr int kMostStates = 2;
  // state_names: of the tensors that lie beside each parameter, in its shape and zero at first.
  Optimizer(double learning_rate, std::vector<std::string> state_names);

  struct Update {
    T* value;
    T* state[kMostStates];
    double learning_rate, grad_scale;
    int64_t step;  // 1 first
  };
  virtual void update(const Update& u, const T* grad, int64_t n) const = 0;
  // Rows rows[0 .. count) of value and state, [*, width]; ascending, none twice. grad: [count, width].
  virtual void update_rows(const Update& u, int64_t width, const int64_t* rows, const T* grad, int64_t count) const = 0;

 private:
  struct State {
    const Parameter<T>* parameter = nullptr;
    int64_t numel = 0;
    T* tensors[kMostStates] = {};  // null until they are needed
    double rate_scale = 1;
  };
  State& state_of(const Parameter<T>& parameter);
  void make_tensors(State& state);

  double learning_rate_;
  std::vector<std::string> state_names_;
  Pool pool_;
  std::vector<State> states_;
  int64_t steps_ = 0;
};

}  // namespace tt
