#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/tensor/kernels/embedding/embedding.h>

namespace tt {
namespace {

const Op kEmbedding("embedding");

}  // namespace

template <class T>
Variable<T> embedding(Variable<T> table, Tensor<const int64_t> ids, TableGradient gradient) {
  check(table.shape().rank() == 2, kEmbedding.name, "the table has shape ", table.shape(), "; it must be a matrix");
  Tape<T>& tape = table.tape();
  const int64_t n = ids.numel(), rows = table.rows(), d = table.cols();
  const Tensor<T> values = table.value(), y = tape.make({n, d});
  for (int64_t i = 0; i < n; ++i)
    check(ids[i] >= -1 && ids[i] < rows, kEmbedding.name, "id ", ids[i], " at position ", i,
          "; the table has rows 0 to ", rows - 1, " (-1 means none)");
  ids = tape.keep(ids);
  kernels::gather_rows(values.data(), d, ids.data(), n, y.data(), d);
  return tape.record(kEmbedding, y, {table}, [=](const Tensor<T>& dout) {
    Node<T>* node = table.node();
    if (node->parameter && gradient == TableGradient::rows) {  // added up at the end: all lookups of a table at once
      auto* part = new (table.tape().arena().raw(sizeof(RowGradPart<T>))) RowGradPart<T>;
      part->ids = ids;
      part->grad = {dout.data(), {n, d}};
      part->next = node->lookups;
      node->lookups = part;
      return;
    }
    T* dtable = table.accumulator().all();
    for (int64_t i = 0; i < n; ++i) {
      if (ids[i] < 0) continue;
      for (int64_t j = 0; j < d; ++j) dtable[ids[i] * d + j] += dout[i * d + j];
    }
  });
}

template Variable<float> embedding(Variable<float>, Tensor<const int64_t>, TableGradient);
template Variable<double> embedding(Variable<double>, Tensor<const int64_t>, TableGradient);

}  // namespace tt
