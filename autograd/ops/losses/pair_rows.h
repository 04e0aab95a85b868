#pragma once
// What losses over pairs of a batch share, over all of them (around the kernels in tensor/kernels/in_batch) or over
// lists: checks of what comes from the caller, and the way of the gradients back to u, v and tau. Included by the
// sources of such losses alone.

#include <twotower/autograd/ops/elementwise/elements.h>
#include <twotower/autograd/ops/losses/retrieval_losses.h>
#include <twotower/autograd/ops/sequences/offsets.h>
#include <twotower/tensor/kernels/in_batch/in_batch.h>
#include <twotower/tensor/threads/parallel.h>

#include <limits>

namespace tt::pair_rows {

template <class T>
constexpr T kMinusInf = -std::numeric_limits<T>::infinity();

inline void check_sizes(const Op& op, const Shape& u, const Shape& v) {
  check(u.rank() == 2 && v.rank() == 2 && u[1] == v[1], op.name, "user vectors ", u, " and item vectors ", v,
        " must have the same width");
  check(u[0] > 0 && v[0] > 0, op.name, u[0], " users and ", v[0], " items; there must be at least one of each");
}

// The temperature: one positive number.
template <class T>
void check_temperature(const Op& op, const Variable<T>& tau) {
  check(tau.numel() == 1, op.name, "the temperature has shape ", tau.shape(), "; it must have one element");
  check(tau.item() > 0, op.name, "the temperature is ", tau.item(), "; it must be positive");
}

// One number a column, or none at all.
template <class T>
void check_columns(const Op& op, const char* what, Tensor<const T> values, int64_t columns) {
  check(values.numel() == 0 || values.numel() == columns, op.name, what, " has ", values.numel(), " entries for ",
        columns, " columns");
}

// Lists of columns in compressed rows: what is not there would be read or written outside its row.
inline void check_lists(const Op& op, const char* what, Tensor<const int64_t> offsets, Tensor<const int32_t> list,
                        int64_t rows, int64_t columns) {
  check_offsets(op, offsets, list.numel());
  check(offsets.numel() == rows + 1, op.name, what, " for ", offsets.numel() - 1, " rows, the batch has ", rows);
  for (int64_t k = 0; k < list.numel(); ++k)
    check(list[k] >= 0 && list[k] < columns, op.name, what, ": column ", list[k], "; the columns are 0 to ",
          columns - 1);
}

inline void check_exclusions(const Op& op, const Exclusions& exclude, int64_t rows, int64_t columns) {
  if (exclude.offsets.numel() > 0) check_lists(op, "exclusions", exclude.offsets, exclude.columns, rows, columns);
}

inline kernels::Exclusions kernel_exclusions(const Exclusions& e) {
  if (e.offsets.numel() == 0) return {};
  return {e.offsets.data(), e.columns.data()};
}

template <class T>
struct ScoreGradients {
  Tensor<T> du, dv;  // [B, D], [M, D]: for dL = 1
  T dtau = 0;
};

// kernel(where the gradients go, or null) -> the loss.
template <class T, class Kernel>
T run_pairs(T tau, ScoreGradients<T>* grads, Kernel&& kernel) {
  if (grads == nullptr) return static_cast<T>(kernel(static_cast<const kernels::InBatchGrads<T>*>(nullptr)));
  double d_inv_tau = 0;
  const kernels::InBatchGrads<T> out{grads->du.data(), grads->dv.data(), &d_inv_tau};  // null: nobody asks for it
  const double loss = kernel(&out);
  grads->dtau = static_cast<T>(-d_inv_tau / (static_cast<double>(tau) * static_cast<double>(tau)));
  return static_cast<T>(loss);
}

// Gradients are made with the value (the scores are at hand then) and only scaled when the upstream gradient
// comes.
template <class T>
ScoreGradients<T>* make_gradients(Tape<T>& tape, Variable<T> u, Variable<T> v, Variable<T> tau) {
  if (!tape.recording() || !(u.requires_grad() || v.requires_grad() || tau.requires_grad())) return nullptr;
  auto* g = new (tape.arena().raw(sizeof(ScoreGradients<T>))) ScoreGradients<T>;
  if (u.requires_grad()) g->du = tape.make(u.shape());
  if (v.requires_grad()) g->dv = tape.make(v.shape());
  return g;
}

template <class T>
void push(Variable<T> u, Variable<T> v, Variable<T> tau, const ScoreGradients<T>* g, T upstream) {
  add_elements(u.accumulator(), [=](int64_t i) { return upstream * g->du[i]; });
  add_elements(v.accumulator(), [=](int64_t i) { return upstream * g->dv[i]; });
  add_elements(tau.accumulator(), [=](int64_t) { return upstream * g->dtau; });
}

}  // namespace tt::pair_rows
