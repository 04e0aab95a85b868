#pragma once
// What losses over all pairs of a batch share: panels of rows of u v^T, one row's loss and its gradient in
// the place of its dots, and the products that carry these back to u and v. Included by the sources of such
// losses alone.

#include <twotower/autograd/ops/elements.h>
#include <twotower/autograd/ops/offsets.h>
#include <twotower/autograd/ops/retrieval_losses.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tt::pair_rows {

template <class T>
constexpr T kMinusInf = -std::numeric_limits<T>::infinity();

constexpr int64_t kPanelRows = 64;

inline void check_sizes(const Op& op, const Shape& u, const Shape& v) {
  check(u.rank() == 2 && v.rank() == 2 && u[1] == v[1], op.name, "user vectors ", u, " and item vectors ", v,
        " must have the same width");
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
  if (offsets.numel() == 0) return;
  check(offsets.numel() == rows + 1, op.name, what, " for ", offsets.numel() - 1, " rows, the batch has ", rows);
  check_offsets(op, offsets, list.numel());
  for (int64_t k = 0; k < list.numel(); ++k)
    check(list[k] >= 0 && list[k] < columns, op.name, what, ": column ", list[k], "; the columns are 0 to ",
          columns - 1);
}

inline void check_exclusions(const Op& op, const Exclusions& exclude, int64_t rows, int64_t columns) {
  check_lists(op, "exclusions", exclude.offsets, exclude.columns, rows, columns);
}

// The shape of all these losses: for each row i, a function of its dots with all columns gives the row's loss
// and replaces the dots by dL_i/ds_ij; the driver turns those into du, dv and dtau.
template <class T>
struct ScoreGradients {
  Tensor<T> du, dv;  // [B, D], [M, D]: for dL = 1
  T dtau = 0;
};

template <class T>
struct RowResult {
  T loss, dtau;  // the row's loss, and sum_j dL/ds_ij * d s_ij/d tau
};

// row(i, dots, dots0) -> RowResult; dots: [M] becomes dL/d dot_ij. dots0: the dots of u0 and v0, null where
// these are empty.
template <class T, class Row>
T for_each_row(Tensor<T> u, Tensor<T> v, Tensor<const T> u0, Tensor<const T> v0, ScoreGradients<T>* grads, Arena& arena,
               Row row) {
  const int64_t b = u.rows(), m = v.rows(), d = u.cols();
  const Tensor<T> dots = make_tensor<T>(arena, {std::min(kPanelRows, b), m});
  const Tensor<T> dots0 = u0 ? make_tensor<T>(arena, dots.shape()) : Tensor<T>();
  const Tensor<T> losses = make_tensor<T>(arena, {b}), dtaus = make_tensor<T>(arena, {b});
  for (int64_t begin = 0; begin < b; begin += kPanelRows) {
    const int64_t rows = std::min(kPanelRows, b - begin);
    gemm<T>(false, true, rows, m, d, 1, u.row(begin), d, v.data(), d, 0, dots.data(), m);
    if (u0) gemm<T>(false, true, rows, m, d, 1, u0.row(begin), d, v0.data(), d, 0, dots0.data(), m);
    parallel_for(0, rows, 4, [&](int64_t lo, int64_t hi) {
      for (int64_t r = lo; r < hi; ++r) {
        const RowResult<T> result = row(begin + r, dots.row(r), u0 ? dots0.row(r) : nullptr);
        losses[begin + r] = result.loss;
        dtaus[begin + r] = result.dtau;
      }
    });
    if (!grads) continue;
    gemm<T>(false, false, rows, d, m, 1, dots.data(), m, v.data(), d, 0, grads->du.row(begin), d);
    gemm<T>(true, false, m, d, rows, 1, dots.data(), m, u.row(begin), d, begin > 0, grads->dv.data(), d);
  }
  T total = 0;
  for (int64_t i = 0; i < b; ++i) {
    total += losses[i];
    if (grads) grads->dtau += dtaus[i];
  }
  return total;
}

// Gradients are made with the value (the scores are at hand then) and only scaled when the upstream gradient
// comes.
template <class T>
ScoreGradients<T>* make_gradients(Tape<T>& tape, Variable<T> u, Variable<T> v, Variable<T> tau) {
  if (!tape.recording() || !(u.requires_grad() || v.requires_grad() || tau.requires_grad())) return nullptr;
  auto* g = new (tape.arena().raw(sizeof(ScoreGradients<T>))) ScoreGradients<T>;
  g->du = tape.make(u.shape());
  g->dv = tape.make(v.shape());
  return g;
}

template <class T>
void push(Variable<T> u, Variable<T> v, Variable<T> tau, const ScoreGradients<T>* g, T upstream) {
  add_elements(u.accumulator(), u.shape(), [=](int64_t i) { return upstream * g->du[i]; });
  add_elements(v.accumulator(), v.shape(), [=](int64_t i) { return upstream * g->dv[i]; });
  add_elements(tau.accumulator(), tau.shape(), [=](int64_t) { return upstream * g->dtau; });
}

// p = softmax(p) in place, entries of -inf become 0; returns log of the sum of exponentials.
template <class T>
T softmax(T* p, int64_t n) {
  const T top = *std::max_element(p, p + n);
  if (top == kMinusInf<T>) {
    std::fill_n(p, n, T(0));
    return kMinusInf<T>;
  }
  T total = 0;
  for (int64_t j = 0; j < n; ++j) total += p[j] = std::exp(p[j] - top);
  const T inverse = 1 / total;
  for (int64_t j = 0; j < n; ++j) p[j] *= inverse;
  return top + std::log(total);
}

template <class T>
void exclude_columns(const Exclusions& exclude, int64_t row, T* s, int64_t keep = -1) {
  if (exclude.offsets.numel() == 0) return;
  for (int64_t k = exclude.offsets[row]; k < exclude.offsets[row + 1]; ++k)
    if (exclude.columns[k] != keep) s[exclude.columns[k]] = kMinusInf<T>;
}

template <class T>
T* row_scratch(int slot, int64_t n) {
  return static_cast<T*>(thread_scratch(slot, static_cast<size_t>(n) * sizeof(T)));
}

// d loss_i / d s -> d loss_i / d dot in place; returns d loss_i / d tau = -sum_j ds_ij dot_ij / tau^2.
template <class T>
T score_to_dot_gradient(T* ds, const T* dots, int64_t m, T tau) {
  T sum = 0;
  for (int64_t j = 0; j < m; ++j) {
    sum += ds[j] * dots[j];
    ds[j] /= tau;
  }
  return -sum / (tau * tau);
}

}  // namespace tt::pair_rows
