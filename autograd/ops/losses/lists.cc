#include <twotower/autograd/ops/losses/lists.h>
#include <twotower/autograd/ops/losses/pair_rows.h>
#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/tensor/kernels/embedding/embedding.h>

namespace tt {
namespace {

const Op kListScores("list_scores");

// Rows that make a chunk, where `entries` entries of width d are spread over `rows` rows.
int64_t entry_grain(int64_t rows, int64_t entries, int64_t d) { return row_grain((entries / rows + 1) * d); }

// The lists the other way round: which entries each listed column has, in the order of the list.
template <class T>
kernels::RowGroups group_by_column(Tensor<const int32_t> columns, Arena& arena) {
  const int64_t n = columns.numel();
  auto* ids = arena.allocate<int64_t>(n);
  std::copy(columns.begin(), columns.end(), ids);
  const kernels::RowPart<T> part{.ids = ids, .n = n};
  return kernels::group_rows(&part, 1, arena.raw(kernels::row_groups_workspace(n)));
}

}  // namespace

// du_i = sum_k dout_k v_columns[k] over row i's entries;  dv_j = sum_k dout_k u_i over the entries of column j
template <class T>
Variable<T> list_scores(Variable<T> u, Variable<T> v, const Lists& lists) {
  pair_rows::check_sizes(kListScores, u.shape(), v.shape());
  pair_rows::check_lists(kListScores, "lists", lists.offsets, lists.columns, u.rows(), v.rows());
  Tape<T>& tape = u.tape();
  const int64_t b = u.rows(), n = lists.columns.numel(), d = u.cols();
  const Tensor<const int64_t> offsets = tape.keep(lists.offsets);
  const Tensor<const int32_t> columns = tape.keep(lists.columns);
  const Tensor<T> uv = u.value(), vv = v.value(), s = tape.make({n});
  parallel_for(0, b, entry_grain(b, n, d), [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i)
      for (int64_t k = offsets[i]; k < offsets[i + 1]; ++k) s[k] = dot_in_lanes(uv.row(i), vv.row(columns[k]), d);
  });
  return tape.record(kListScores, s, {u, v}, [=](const Tensor<T>& dout) {
    if (const Accumulator<T> du = u.accumulator())
      parallel_for(0, b, entry_grain(b, n, d), [&](int64_t lo, int64_t hi) {
        T* to = du.rows(lo, hi);
        for (int64_t i = lo; i < hi; ++i, to += d)
          for (int64_t k = offsets[i]; k < offsets[i + 1]; ++k) add_times(to, vv.row(columns[k]), dout[k], d);
      });
    if (const Accumulator<T> dv = v.accumulator(); dv && n > 0) {
      Arena& arena = v.tape().arena();
      auto* row = arena.template allocate<int64_t>(n);  // of each entry
      for (int64_t i = 0; i < b; ++i) std::fill(row + offsets[i], row + offsets[i + 1], i);
      const kernels::RowGroups by_column = group_by_column<T>(columns, arena);
      parallel_for(0, by_column.groups, entry_grain(by_column.groups, n, d), [&](int64_t lo, int64_t hi) {
        for (int64_t g = lo; g < hi; ++g) {
          const int64_t column = by_column.ids[g];
          T* to = dv.rows(column, column + 1);
          for (int64_t e = by_column.starts[g]; e < by_column.starts[g + 1]; ++e) {
            const int64_t k = by_column.order[e];
            add_times(to, uv.row(row[k]), dout[k], d);
          }
        }
      });
    }
  });
}

template Variable<float> list_scores(Variable<float>, Variable<float>, const Lists&);
template Variable<double> list_scores(Variable<double>, Variable<double>, const Lists&);

}  // namespace tt
