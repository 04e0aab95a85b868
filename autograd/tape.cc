#include <twotower/autograd/tape.h>
#include <twotower/tensor/threads/parallel.h>

#include <cstring>

namespace tt {
namespace {

std::vector<const Op*>& registered_ops() {
  static std::vector<const Op*> ops;
  return ops;
}

constexpr int64_t kSmallGradient = 4096;  // elements that are zeroed at once, without keeping track of rows

// Zeroes the rows [lo, hi) that nothing has touched yet.
template <class T>
void zero_untouched(const Node<T>& node, int64_t lo, int64_t hi) {
  uint8_t* touched = node.touched;
  const int64_t cols = node.grad.cols();
  if (lo >= hi) return;
  if (std::memchr(touched + lo, 1, static_cast<std::size_t>(hi - lo)) == nullptr) {
    std::fill_n(node.grad.row(lo), (hi - lo) * cols, T(0));
    std::memset(touched + lo, 1, static_cast<std::size_t>(hi - lo));
    return;
  }
  for (int64_t r = lo; r < hi; ++r) {
    if (touched[r]) continue;
    std::fill_n(node.grad.row(r), cols, T(0));
    touched[r] = 1;
  }
}

template <class T>
void zero_all_untouched(Node<T>& node) {
  if (node.touched == nullptr) return;
  const int64_t grain = 32768 / std::max<int64_t>(node.grad.cols(), 1) + 1;
  parallel_for(0, node.grad.rows(), grain, [&](int64_t lo, int64_t hi) { zero_untouched(node, lo, hi); });
  node.touched = nullptr;
}

}  // namespace

Op::Op(const char* op_name, bool is_differentiable) : name(op_name), differentiable(is_differentiable) {
  registered_ops().push_back(this);
}

const std::vector<const Op*>& Op::all() { return registered_ops(); }

template <class T>
Accumulator<T>::Accumulator(Node<T>* node) : node_(node), rows_(node->value.rows()), cols_(node->value.cols()) {
  for (; node_->alias; node_ = node_->alias) offset_ += node_->alias_offset;
  if (!node_->grad) {
    node_->grad = node_->tape->make(node_->value.shape());
    if (node_->grad.numel() <= kSmallGradient) {
      node_->grad.fill(T(0));
    } else {
      const int64_t rows = node_->grad.rows();
      node_->touched = node_->tape->arena().template allocate<uint8_t>(rows);
      std::memset(node_->touched, 0, static_cast<std::size_t>(rows));
    }
  }
  // Rows of another cut than the memory's: two threads' rows could meet in one of the memory's.
  if (node_->value.cols() != cols_ || offset_ % std::max<int64_t>(cols_, 1) != 0) zero_all_untouched(*node_);
}

template <class T>
T* Accumulator<T>::all() const {
  zero_all_untouched(*node_);
  return node_->grad.data() + offset_;
}

template <class T>
T* Accumulator<T>::rows(int64_t lo, int64_t hi) const {
  const int64_t first = cols_ > 0 ? offset_ / cols_ : 0;
  if (node_->touched) zero_untouched(*node_, first + lo, first + hi);
  return node_->grad.data() + offset_ + lo * cols_;
}

template <class T>
bool Accumulator<T>::claim(int64_t lo, int64_t hi) const {
  if (node_->touched == nullptr || lo >= hi || cols_ == 0) return false;
  uint8_t* touched = node_->touched + offset_ / cols_ + lo;
  const auto count = static_cast<std::size_t>(hi - lo);
  if (std::memchr(touched, 1, count) != nullptr) return false;
  std::memset(touched, 1, count);
  return true;
}

template <class T>
Variable<T> Tape<T>::leaf(const Tensor<T>& value, bool requires_grad) {
  check(value || value.shape().numel() == 0, "tape",
        "a tensor of no memory; give one that was made, or a shape with a 0");
  auto* node = new (arena_.raw(sizeof(Node<T>))) Node<T>;
  node->value = value;
  node->tape = this;
  node->requires_grad = requires_grad;
  nodes_.push_back(node);
  return Variable<T>(node);
}

template <class T>
Variable<T> Tape<T>::constant(const Tensor<const T>& value) {
  return leaf({const_cast<T*>(value.data()), value.shape()}, false);
}

template <class T>
Variable<T> Tape<T>::parameter(const Parameter<T>& p) {
  check(p.value && p.number >= 0, "tape", "the parameter \"", p.name,
        "\" has no value; make it with ParameterSet::add");
  if (!recording_) {
    const Variable<T> frozen = leaf(p.value, false);
    frozen.node()->parameter = &p;
    return frozen;
  }
  const auto number = static_cast<std::size_t>(p.number);
  if (leaves_.size() <= number) leaves_.resize(number + 1, nullptr);
  for (Node<T>* node = leaves_[number]; node; node = node->next_leaf)
    if (node->parameter == &p) return Variable<T>(node);
  Node<T>* node = leaf(p.value, true).node();
  node->parameter = &p;
  node->next_leaf = leaves_[number];
  leaves_[number] = node;
  return Variable<T>(node);
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
    check(&inputs[i].tape() == this, op.name, "input ", i, " belongs to another tape");
    node->inputs[node->input_count++] = inputs[i].node();
    node->requires_grad |= inputs[i].requires_grad() && op.differentiable && recording_;
  }
  return node;
}

template <class T>
Variable<T> Tape<T>::record_alias(const Op& op, const Tensor<T>& value, Variable<T> input, int64_t offset) {
  check(offset >= 0 && offset + value.numel() <= input.numel(), op.name, "elements ", offset, " to ",
        offset + value.numel(), " of ", input.numel());
  Node<T>* node = new_node(op, value, &input, 1);
  node->alias = input.node();
  node->alias_offset = offset;
  return Variable<T>(node);
}

template <class T>
Gradients<T> Tape<T>::backward(const Variable<T>& loss) {
  check(static_cast<bool>(loss) && loss.numel() == 1, "backward", "the loss has shape ", loss ? loss.shape() : Shape(),
        "; it must have one element");
  const Tensor<T> one = make(loss.shape());
  one[0] = T(1);
  return backward(loss, one);
}

template <class T>
Gradients<T> Tape<T>::backward(const Variable<T>& output, const Tensor<const T>& upstream) {
  check(recording_, "backward", "this tape keeps values only; make it with recording = true");
  check(!walked_, "backward",
        "the gradients of this step have been made already; call reset() and record the next one");
  check(static_cast<bool>(output) && &output.tape() == this, "backward", "the output is not one of this tape");
  check(output.requires_grad(), "backward",
        "the loss depends on no parameter; was everything detached, or made under NoGrad?");
  check(upstream.shape() == output.shape(), "backward", "upstream gradient has shape ", upstream.shape(),
        ", the output ", output.shape());
  walked_ = true;
  T* to = output.accumulator().all();
  for (int64_t i = 0; i < upstream.numel(); ++i) to[i] += upstream[i];
  for (auto it = nodes_.rbegin(); it != nodes_.rend(); ++it) {
    Node<T>& node = **it;
    if (!node.grad) continue;
    zero_all_untouched(node);
    if (node.run_backward) node.run_backward(node.closure, node.grad);
  }
  return collect();
}

// The parameters' gradients; lookups of a table are added up now, all of them at once.
template <class T>
Gradients<T> Tape<T>::collect() {
  using Entry = typename Gradients<T>::Entry;
  int64_t count = 0;
  const auto reached = [](const Node<T>& node) { return node.parameter && (node.grad || node.lookups); };
  for (const Node<T>* node : nodes_) count += reached(*node);
  auto* entries = arena_.template allocate<Entry>(count);
  Entry* to = entries;
  for (Node<T>* node : nodes_) {
    if (!reached(*node)) {
      if (!node->op && node->requires_grad && !node->parameter) (void)Accumulator<T>(node).all();  // of(variable)
      continue;
    }
    new (to) Entry{node->parameter, {node->grad, {}}};
    if (node->lookups) {
      const RowGrad<T> rows = sum_rows(node->lookups, arena_);
      if (node->grad)
        add_rows(rows, node->grad);
      else
        to->gradient.rows = rows;
    }
    ++to;
  }
  return Gradients<T>(*this, arena_, {entries, static_cast<std::size_t>(count)});
}

template <class T>
void Tape<T>::reset() {
  nodes_.clear();
  std::fill(leaves_.begin(), leaves_.end(), nullptr);
  walked_ = false;
  arena_.reset();  // last: should it throw, nothing points into it
}

template class Accumulator<float>;
template class Accumulator<double>;
template class Variable<float>;
template class Variable<double>;
template class Tape<float>;
template class Tape<double>;

}  // namespace tt
