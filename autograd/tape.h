#pragma once
// Reverse-mode automatic differentiation on an eager tape.
//
// An op computes its value at once and records a node: the value, and a function that turns dL/dvalue into its share
// of dL/dinput for each input. Nodes stand in creation order, so walking them backwards once visits each node after
// everything that used it; that is the whole algorithm.
//
//   Arena arena;  Tape<float> tape(arena);
//   auto x = tape.variable(some_tensor), w = tape.parameter(weight);
//   auto loss = mean(square(matmul(x, w)));
//   tape.backward(loss);            // weight.grad now holds dL/dw
//   tape.reset();                   // next step; the arena's memory is used again
//
// All memory of a step lives in the arena, the closures included (they must be trivially destructible), so a step
// that looks like the one before it allocates nothing.

#include <twotower/autograd/parameter.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/tensor.h>

#include <initializer_list>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tt {

template <class T>
class Tape;

// The name of an op, entered in a list when the program starts: the tests go through it and fail for an op without a
// gradient check. `differentiable = false` marks the ones that stop gradients on purpose.
struct Op {
  explicit Op(const char* op_name, bool is_differentiable = true);
  const char* name;
  bool differentiable;
  static const std::vector<const Op*>& all();
};

template <class T>
struct Node {
  static constexpr int kMaxInputs = 8;

  Tensor<T> value;
  Tensor<T> grad;  // dL/dvalue; empty until the first share arrives
  Tape<T>* tape = nullptr;
  const Op* op = nullptr;  // null for a leaf
  Parameter<T>* parameter = nullptr;
  Node* inputs[kMaxInputs] = {};
  int input_count = 0;
  bool requires_grad = false;
  void* closure = nullptr;
  void (*run_backward)(void* closure, const Tensor<T>& dout) = nullptr;
};

// Where a backward function puts its share: it must add if a share is there already and may write plainly if not.
template <class T>
struct GradTarget {
  T* data;
  bool add;
  T beta() const { return add ? T(1) : T(0); }  // as gemm wants it
};

// A handle to a node; copy it freely. It is valid until the tape is reset.
template <class T>
class Variable {
 public:
  Variable() = default;
  explicit Variable(Node<T>* node) : node_(node) {}

  explicit operator bool() const { return node_ != nullptr; }
  const Tensor<T>& value() const { return node_->value; }
  const Tensor<T>& grad() const { return node_->grad; }
  const Shape& shape() const { return node_->value.shape(); }
  int64_t rows() const { return node_->value.rows(); }
  int64_t cols() const { return node_->value.cols(); }
  T item() const { return node_->value[0]; }
  bool requires_grad() const { return node_ != nullptr && node_->requires_grad; }
  Tape<T>& tape() const { return *node_->tape; }
  Node<T>* node() const { return node_; }

  GradTarget<T> grad_target() const;  // the caller must write or add every element
  Tensor<T> grad_to_add() const;      // zeroed if fresh: for ops that touch only part of it
  // Adds a whole share, or takes its memory as the gradient if none is there yet: the caller writes to it no
  // more.
  void give_grad(const Tensor<T>& share) const;

 private:
  Node<T>* node_ = nullptr;
};

template <class T>
class Tape {
 public:
  // `recording = false`: values only, for serving and evaluation.
  explicit Tape(Arena& arena, bool recording = true) : arena_(arena), recording_(recording) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Variable<T> constant(const Tensor<const T>& value);  // never written through
  Variable<T> variable(const Tensor<T>& value) { return leaf(value, true); }
  Variable<T> parameter(Parameter<T>& p);  // one leaf a parameter and step, however often it is asked for
  Variable<T> scalar(T x);                 // a constant of shape [1]

  // Records an op. `backward` is called with dL/dvalue, only if an input requires a gradient; it may use dL/dvalue as
  // scratch, since nothing reads that afterwards.
  template <class Backward>
  Variable<T> record(const Op& op, const Tensor<T>& value, std::initializer_list<Variable<T>> inputs,
                     Backward backward) {
    Node<T>* node = new_node(op, value, inputs.begin(), static_cast<int>(inputs.size()));
    attach(node, backward);
    return Variable<T>(node);
  }
  template <class Backward>
  Variable<T> record(const Op& op, const Tensor<T>& value, const Variable<T>* inputs, int count, Backward backward) {
    Node<T>* node = new_node(op, value, inputs, count);
    attach(node, backward);
    return Variable<T>(node);
  }

  // dL/dx for every x that L depends on, then the gradient rows of the embedding tables. L must have one element.
  void backward(const Variable<T>& loss);
  // The same from several outputs with given upstream gradients (each of the output's shape).
  void backward(const Variable<T>& output, const Tensor<T>& upstream);

  void reset();  // forgets the nodes and everything in the arena

  Tensor<T> make(const Shape& shape) { return make_tensor<T>(arena_, shape); }
  Arena& arena() { return arena_; }
  bool recording() const { return recording_; }
  const std::vector<Node<T>*>& nodes() const { return nodes_; }

 private:
  Variable<T> leaf(const Tensor<T>& value, bool requires_grad);
  Node<T>* new_node(const Op& op, const Tensor<T>& value, const Variable<T>* inputs, int count);

  template <class Backward>
  void attach(Node<T>* node, const Backward& backward) {
    static_assert(std::is_trivially_destructible_v<Backward>, "capture views and handles, nothing that owns memory");
    if (!node->requires_grad) return;
    node->closure = new (arena_.raw(sizeof(Backward))) Backward(backward);
    node->run_backward = [](void* closure, const Tensor<T>& dout) { (*static_cast<Backward*>(closure))(dout); };
  }

  Arena& arena_;
  bool recording_;
  uint64_t step_ = next_step();
  std::vector<Node<T>*> nodes_;
  static uint64_t next_step();
};

}  // namespace tt
