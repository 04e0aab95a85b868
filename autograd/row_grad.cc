#include <twotower/autograd/row_grad.h>
#include <twotower/tensor/kernels/embedding/embedding.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>

namespace tt {
namespace {

using kernels::RowGroups;
using kernels::RowPart;

// values[g] = the sum of group g's gradient rows. Float has a kernel for it.
template <class T>
void sum_groups(const RowGradPart<T>* parts, const RowPart*, int64_t, const RowGroups& groups, Arena& arena,
                const Tensor<T>& values) {
  int64_t total = 0;
  for (auto* p = parts; p; p = p->next) total += p->ids.numel();
  const T** source = arena.allocate<const T*>(total);
  total = 0;
  for (auto* p = parts; p; p = p->next)
    for (int64_t i = 0; i < p->ids.numel(); ++i) source[total++] = p->grad.row(i);
  for (int64_t g = 0; g < groups.groups; ++g) {
    T* sum = values.row(g);
    std::fill_n(sum, values.cols(), T(0));
    for (int64_t i = groups.starts[g]; i < groups.starts[g + 1]; ++i) {
      const T* row = source[groups.order[i]];
      for (int64_t c = 0; c < values.cols(); ++c) sum[c] += row[c];
    }
  }
}

void sum_groups(const RowGradPart<float>*, const RowPart* parts, int64_t count, const RowGroups& groups, Arena&,
                const Tensor<float>& values) {
  kernels::sum_row_groups(parts, count, groups, values.cols(), values.data());
}

const float* as_rows(const float* x) { return x; }
const float* as_rows(const double*) { return nullptr; }

}  // namespace

template <class T>
RowGrad<T> sum_rows(const RowGradPart<T>* parts, Arena& arena) {
  int64_t total = 0, d = 0, count = 0;
  for (auto* p = parts; p; p = p->next) total += p->ids.numel(), d = p->grad.cols(), ++count;
  if (total == 0) return {};
  auto* rows = arena.allocate<RowPart>(count);
  count = 0;
  for (auto* p = parts; p; p = p->next) rows[count++] = {p->ids.data(), as_rows(p->grad.data()), p->ids.numel(), d};
  const RowGroups groups = kernels::group_rows(rows, count, arena.raw(kernels::row_groups_workspace(total)));
  const RowGrad<T> out{{groups.ids, {groups.groups}}, make_tensor<T>(arena, {groups.groups, d})};
  sum_groups(parts, rows, count, groups, arena, out.values);
  return out;
}

template <class T>
void add_rows(const RowGrad<T>& gradient, Tensor<T> table) {
  for (int64_t i = 0; i < gradient.count(); ++i) {
    T* to = table.row(gradient.rows[i]);
    for (int64_t j = 0; j < table.cols(); ++j) to[j] += gradient.values.row(i)[j];
  }
}

template RowGrad<float> sum_rows(const RowGradPart<float>*, Arena&);
template RowGrad<double> sum_rows(const RowGradPart<double>*, Arena&);
template void add_rows(const RowGrad<float>&, Tensor<float>);
template void add_rows(const RowGrad<double>&, Tensor<double>);

}  // namespace tt
