#pragma once
// Reverse-mode automatic differentiation on an eager tape.
//
// An op computes its value at once and records a node: the value, and a function that turns dL/dvalue into its share
// of dL/dinput for each input. Nodes stand in creation order, so walking them backwards once visits each node after
// everything that used it; that is the whole algorithm.
//
//   Arena arena;  Tape<float> tape(arena);
//   const auto x = tape.constant(some_tensor), w = tape.parameter(weight);
//   const auto loss = mean(square(matmul(x, w)));
//   const Gradients<float> gradients = tape.backward(loss);
//   adam.step(parameters, gradients);
//   tape.reset();                   // next step; the arena's memory is used again
//
// All memory of a step lives in the arena, the closures included (they must be trivially destructible), so a step
// that looks like the one before it allocates nothing. One arena serves one tape at a time: resetting a tape takes back
// everything in its arena. A tape belongs to one thread; tapes of several threads may read the same parameters at once.

#include <twotower/autograd/gradients.h>
#include <twotower/autograd/parameter.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/tensor.h>

#include <initializer_list>
#include <type_traits>
#include <vector>

namespace tt {

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
  Tape<T>* tape = nullptr;
  const Op* op = nullptr;  // null for a leaf
  Node* inputs[kMaxInputs] = {};
  int input_count = 0;
  bool requires_grad = false;
  void* closure = nullptr;
  void (*run_backward)(void* closure, const Tensor<T>& dout) = nullptr;

  // dL/dvalue: empty until the first share arrives. Rows are zeroed when they are first touched, and the zeros are
  // still in the cache when the share is added; `touched` [rows] tells which are, null: all of them.
  Tensor<T> grad;
  uint8_t* touched = nullptr;
  Node* alias = nullptr;  // the node whose gradient this one's is a part of, from element alias_offset on
  int64_t alias_offset = 0;

  // Of a parameter's leaf: the rows that lookups hand back, and another set's parameter of the same number.
  const Parameter<T>* parameter = nullptr;
  RowGradPart<T>* lookups = nullptr;
  Node* next_leaf = nullptr;
};

// The gradient of an op's input, to be added to: it is zero where nothing has arrived yet. Inputs may be the same
// variable: their accumulators then lead to the same memory.
template <class T>
class Accumulator {
 public:
  Accumulator() = default;
  explicit Accumulator(Node<T>* node);
  explicit operator bool() const { return node_ != nullptr; }  // false: the input needs no gradient

  int64_t rows() const { return rows_; }  // of the input's matrix view
  int64_t cols() const { return cols_; }

  T* all() const;  // every element
  // Rows [lo, hi) of the input's matrix view: several threads may ask for rows of their own at the same time,
  // of one accumulator; of two, see crosses().
  T* rows(int64_t lo, int64_t hi) const;
  // Whether rows of the two are the same memory under different numbers, as in slices that overlap: threads that add to
  // rows of their own in both would meet.
  bool crosses(const Accumulator& other) const {
    if (!node_ || node_ != other.node_ || (offset_ == other.offset_ && cols_ == other.cols_)) return false;
    return offset_ < other.offset_ + other.rows_ * other.cols_ && other.offset_ < offset_ + rows_ * cols_;
  }

 private:
  template <class U>
  friend void add_product(Accumulator<U> dx, int64_t lo, int64_t hi, int64_t k, const U* a, const U* b, int64_t ldb);
  // Whether nothing has touched the rows [lo, hi) yet; they then count as touched, and the caller writes all of them.
  bool claim(int64_t lo, int64_t hi) const;

  Node<T>* node_ = nullptr;  // the one whose memory it is
  int64_t offset_ = 0, rows_ = 0, cols_ = 0;
};

// A handle to a node; copy it freely. It is valid until the tape is reset.
template <class T>
class Variable {
 public:
  Variable() = default;
  explicit Variable(Node<T>* node) : node_(node) {}

  explicit operator bool() const { return node_ != nullptr; }
  const Tensor<T>& value() const { return node_->value; }
  const Shape& shape() const { return node_->value.shape(); }
  int64_t rows() const { return node_->value.rows(); }
  int64_t cols() const { return node_->value.cols(); }
  int64_t numel() const { return node_->value.numel(); }
  T item() const {  // of one element
    check(numel() == 1, "item", "the value has shape ", shape(), "; it must have one element");
    return node_->value[0];
  }
  bool requires_grad() const { return node_ != nullptr && node_->requires_grad; }
  Tape<T>& tape() const { return *node_->tape; }
  Node<T>* node() const { return node_; }

  // For backward functions, the one way to hand a gradient back.
  Accumulator<T> accumulator() const { return requires_grad() ? Accumulator<T>(node_) : Accumulator<T>(); }

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
  Variable<T> variable(const Tensor<T>& value) { return leaf(value, recording_); }
  Variable<T> parameter(const Parameter<T>& p);  // one leaf a parameter and step, however often it is asked for
  Variable<T> scalar(T x);                       // a constant of shape [1]

  // Records an op. `backward` is called with dL/dvalue, only if an input requires a gradient; it may use dL/dvalue as
  // scratch, since nothing reads that afterwards. It captures views and handles, and only what it reads.
  template <class Backward>
  Variable<T> record(const Op& op, const Tensor<T>& value, std::initializer_list<Variable<T>> inputs,
                     Backward backward) {
    return record(op, value, inputs.begin(), static_cast<int>(inputs.size()), backward);
  }
  template <class Backward>
  Variable<T> record(const Op& op, const Tensor<T>& value, const Variable<T>* inputs, int count, Backward backward) {
    static_assert(std::is_trivially_destructible_v<Backward>, "capture views and handles, nothing that owns memory");
    Node<T>* node = new_node(op, value, inputs, count);
    if (node->requires_grad) {
      node->closure = new (arena_.raw(sizeof(Backward))) Backward(backward);
      node->run_backward = [](void* closure, const Tensor<T>& dout) { (*static_cast<Backward*>(closure))(dout); };
    }
    return Variable<T>(node);
  }
  // An op whose gradient is its input's, or as many elements of it from `offset` on: a view, or the input plus
  // constants. What arrives for the result goes to the input directly.
  Variable<T> record_alias(const Op& op, const Tensor<T>& value, Variable<T> input, int64_t offset = 0);

  // dL/dp for every parameter and variable that L depends on. L must have one element. Once a step: a second call
  // throws Error, since the first one has used the gradients up.
  Gradients<T> backward(const Variable<T>& loss);
  // The same from an output of any shape, with its upstream gradient, which is only read.
  [[nodiscard]] Gradients<T> backward(const Variable<T>& output, const Tensor<const T>& upstream);

  // A copy that lives as long as the step, for what a backward function reads of the caller's numbers.
  template <class U>
  Tensor<const U> keep(Tensor<const U> values) {
    if (values.numel() == 0) return {};
    const Tensor<U> copy = make_tensor<U>(arena_, values.shape());
    std::copy(values.begin(), values.end(), copy.begin());
    return copy;
  }

  void reset();  // forgets the nodes and everything in the arena

  Tensor<T> make(const Shape& shape) { return make_tensor<T>(arena_, shape); }
  Arena& arena() { return arena_; }
  bool recording() const { return recording_; }
  const std::vector<Node<T>*>& nodes() const { return nodes_; }

 private:
  friend class NoGrad;
  Variable<T> leaf(const Tensor<T>& value, bool requires_grad);
  Node<T>* new_node(const Op& op, const Tensor<T>& value, const Variable<T>* inputs, int count);
  Gradients<T> collect();

  Arena& arena_;
  bool recording_, walked_ = false;
  std::vector<Node<T>*> nodes_;
  std::vector<Node<T>*> leaves_;  // by parameter number
};

// While it lives, the tape records values only: parameters are constants, and results need no gradient.
class [[nodiscard]] NoGrad {
 public:
  template <class T>
  explicit NoGrad(Tape<T>& tape) : recording_(&tape.recording_), before_(tape.recording_) {
    tape.recording_ = false;
  }
  ~NoGrad() { *recording_ = before_; }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool *recording_, before_;
};

}  // namespace tt
