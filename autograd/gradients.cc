#include <twotower/autograd/gradients.h>
#include <twotower/autograd/tape.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/threads/parallel.h>

#include <cmath>

namespace tt {
namespace {

// In chunks that depend on the size alone, whose sums are added in order.
template <class T>
double square_sum(const Tensor<T>& values) {
  constexpr int64_t kMostChunks = 64;
  const int64_t n = values.numel(), grain = std::max<int64_t>(32768, (n + kMostChunks - 1) / kMostChunks);
  double partial[kMostChunks] = {};
  parallel_for(0, n, grain, [&](int64_t lo, int64_t hi) {
    double sum[4] = {};  // four at a time: one addition need not wait for the one before
    for (int64_t i = lo; i < hi; ++i) sum[i & 3] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    partial[lo / grain] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  });
  double total = 0;
  for (const double p : partial) total += p;
  return total;
}

}  // namespace

template <class T>
Gradients<T>::Gradients(const Tape<T>& tape, const Arena& arena, std::span<const Entry> entries)
    : tape_(&tape), arena_(&arena), round_(arena.round()), entries_(entries) {}

template <class T>
void Gradients<T>::check_alive() const {
  check(arena_ == nullptr || arena_->round() == round_, "gradients",
        "the tape was reset since they were made; use them before tape.reset()");
}

template <class T>
Gradient<T> Gradients<T>::of(const Parameter<T>& parameter) const {
  check_alive();
  for (const Entry& entry : entries_)
    if (entry.parameter == &parameter) return entry.gradient;
  return {};
}

template <class T>
Tensor<T> Gradients<T>::of(const Variable<T>& leaf) const {
  check_alive();
  check(tape_ != nullptr && &leaf.tape() == tape_, "gradients", "the variable belongs to another tape");
  check(leaf.node()->op == nullptr && leaf.requires_grad() && leaf.node()->parameter == nullptr, "gradients",
        "only what tape.variable made keeps a gradient under its handle; ask for a parameter's by the parameter");
  return leaf.node()->grad;
}

template <class T>
std::span<const typename Gradients<T>::Entry> Gradients<T>::all() const {
  check_alive();
  return entries_;
}

template <class T>
double Gradients<T>::norm() const {
  double total = 0;
  for (const Entry& entry : all()) total += square_sum(entry.gradient.dense) + square_sum(entry.gradient.rows.values);
  return std::sqrt(total);
}

template class Gradients<float>;
template class Gradients<double>;

}  // namespace tt
