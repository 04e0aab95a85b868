#include <twotower/autograd/tape.h>
#include <twotower/tensor/parallel.h>

#include <atomic>

namespace tt {
namespace {

std::vector<const Op*>& registered_ops() {
  static std::vector<const Op*> ops;
  return ops;
}

}  // namespace

Op::Op(const char* op_name, bool is_differentiable) : name(op_name), differentiable(is_differentiable) {
  registered_ops().push_back(this);
}

const std::vector<const Op*>& Op::all() { return registered_ops(); }

template <class T>
GradTarget<T> Variable<T>::grad_target() const {
  const bool add = static_cast<bool>(node_->grad);
  if (!add) node_->grad = node_->tape->make(node_->value.shape());
  return {node_->grad.data(), add};
}

template <class T>
Tensor<T> Variable<T>::grad_to_add() const {
  if (!node_->grad) {
    node_->grad = node_->tape->make(node_->value.shape());
    node_->grad.fill(T(0));
  }
  return node_->grad;
}

template <class T>
void Variable<T>::give_grad(const Tensor<T>& share) const {
  if (!node_->grad) {
    node_->grad = {share.data(), node_->value.shape()};
    return;
  }
  T* sum = node_->grad.data();
  parallel_for(0, share.numel(), 32768, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) sum[i] += share[i];
  });
}

template <class T>
uint64_t Tape<T>::next_step() {
  static std::atomic<uint64_t> steps{0};
  return ++steps;
}

template <class T>
Variable<T> Tape<T>::leaf(const Tensor<T>& value, bool requires_grad) {
  auto* node = new (arena_.raw(sizeof(Node<T>))) Node<T>;
  node->value = value;
  node->tape = this;
  node->requires_grad = requires_grad && recording_;
  nodes_.push_back(node);
  return Variable<T>(node);
}

template <class T>
Variable<T> Tape<T>::constant(const Tensor<const T>& value) {
  return leaf({const_cast<T*>(value.data()), value.shape()}, false);
}

template <class T>
Variable<T> Tape<T>::parameter(Parameter<T>& p) {
  if (p.leaf_step != step_) {
    p.clear_grad();
    p.leaf = leaf(p.value, p.trainable).node();
    p.leaf->parameter = &p;
    p.leaf_step = step_;
  }
  return Variable<T>(p.leaf);
}

template <class T>
Variable<T> Tape<T>::scalar(T x) {
  const Tensor<T> value = make({1});
  value[0] = x;
  return constant(value);
}

template <class T>
Node<T>* Tape<T>::new_node(const Op& op, const Tensor<T>& value, const Variable<T>* inputs, int count) {
  check(count <= Node<T>::kMaxInputs, op.name, count, " inputs; at most ", Node<T>::kMaxInputs, " are supported");
  Node<T>* node = leaf(value, false).node();
  node->op = &op;
  for (int i = 0; i < count; ++i) {
    if (!inputs[i]) continue;  // an optional input that is not there
    node->inputs[node->input_count++] = inputs[i].node();
    node->requires_grad |= inputs[i].requires_grad() && op.differentiable;
  }
  return node;
}

template <class T>
void Tape<T>::backward(const Variable<T>& loss) {
  check(loss.value().numel() == 1, "backward", "the loss has shape ", loss.shape(), "; it must have one element");
  const Tensor<T> one = make(loss.shape());
  one[0] = T(1);
  backward(loss, one);
}

template <class T>
void Tape<T>::backward(const Variable<T>& output, const Tensor<T>& upstream) {
  check(recording_, "backward", "this tape keeps values only; make it with recording = true");
  check(upstream.shape() == output.shape(), "backward", "upstream gradient has shape ", upstream.shape(),
        ", the output ", output.shape());
  output.node()->grad = upstream;
  for (auto it = nodes_.rbegin(); it != nodes_.rend(); ++it) {
    Node<T>& node = **it;
    if (node.grad && node.run_backward) node.run_backward(node.closure, node.grad);
  }
  for (Node<T>* node : nodes_) {
    if (!node->parameter) continue;
    Parameter<T>& p = *node->parameter;
    p.grad = node->grad;
    if (p.is_table) p.row_grad = sum_rows(p.parts, arena_);
  }
}

template <class T>
void Tape<T>::reset() {
  nodes_.clear();
  arena_.reset();
  step_ = next_step();
}

template class Variable<float>;
template class Variable<double>;
template class Tape<float>;
template class Tape<double>;

}  // namespace tt
