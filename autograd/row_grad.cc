#include <twotower/autograd/row_grad.h>
#include <twotower/tensor/kernels/embedding/embedding.h>

namespace tt {

template <class T>
RowGrad<T> sum_rows(const RowGradPart<T>* parts, Arena& arena) {
  int64_t total = 0, d = 0, count = 0;
  for (auto* p = parts; p; p = p->next) total += p->ids.numel(), d = p->grad.cols(), ++count;
  if (total == 0) return {};
  auto* rows = arena.allocate<kernels::RowPart<T>>(count);
  count = 0;
  for (auto* p = parts; p; p = p->next) rows[count++] = {p->ids.data(), p->grad.data(), p->ids.numel(), d};
  const kernels::RowGroups groups = kernels::group_rows(rows, count, arena.raw(kernels::row_groups_workspace(total)));
  const RowGrad<T> out{{groups.ids, {groups.groups}}, make_tensor<T>(arena, {groups.groups, d})};
  kernels::sum_row_groups(rows, count, groups, d, out.values.data());
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
