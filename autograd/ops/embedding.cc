#include <twotower/autograd/ops/embedding.h>
#include <twotower/tensor/kernels/embedding/embedding.h>

namespace tt {
namespace {

const Op kEmbedding("embedding"), kSliceRows("slice_rows"), kConcatRows("concat_rows");

// Float has a kernel for it; a call with float pointers prefers that.
template <class T>
void gather_rows(const T* table, int64_t d, const int64_t* ids, int64_t n, T* out, int64_t stride) {
  for (int64_t i = 0; i < n; ++i, out += stride) {
    if (ids[i] < 0)
      std::fill_n(out, d, T(0));
    else
      std::copy_n(table + ids[i] * d, d, out);
  }
}
using kernels::gather_rows;

}  // namespace

template <class T>
Variable<T> embedding(Variable<T> table, Tensor<const int64_t> ids) {
  Tape<T>& tape = table.tape();
  const int64_t n = ids.numel(), rows = table.rows(), d = table.cols();
  const Tensor<T> values = table.value(), y = tape.make({n, d});
  for (int64_t i = 0; i < n; ++i)
    check(ids[i] >= -1 && ids[i] < rows, kEmbedding.name, "id ", ids[i], " at position ", i,
          "; the table has rows 0 to ", rows - 1, " (-1 means none)");
  gather_rows(values.data(), d, ids.data(), n, y.data(), d);
  return tape.record(kEmbedding, y, {table}, [=](const Tensor<T>& dout) {
    Parameter<T>* p = table.node()->parameter;
    if (p && p->is_table) {  // leave the adding up to the end of the backward pass: all lookups of a table at once
      auto* part = new (table.tape().arena().raw(sizeof(RowGradPart<T>))) RowGradPart<T>;
      part->ids = ids;
      part->grad = {dout.data(), {n, d}};
      part->next = p->parts;
      p->parts = part;
      return;
    }
    const Tensor<T> dtable = table.grad_to_add();
    for (int64_t i = 0; i < n; ++i) {
      if (ids[i] < 0) continue;
      for (int64_t j = 0; j < d; ++j) dtable.row(ids[i])[j] += dout[i * d + j];
    }
  });
}

template <class T>
Variable<T> slice_rows(Variable<T> x, int64_t begin, int64_t end) {
  const Shape& s = x.shape();
  const int64_t total = s.rank() == 1 ? s[0] : x.rows(), cols = s.rank() == 1 ? 1 : x.cols();
  check(0 <= begin && begin <= end && end <= total, kSliceRows.name, "rows [", begin, ", ", end, ") of ", s);
  const Shape shape = s.rank() == 1 ? Shape{end - begin} : Shape{end - begin, cols};
  const Tensor<T> y(x.value().data() + begin * cols, shape);
  return x.tape().record(kSliceRows, y, {x}, [=](const Tensor<T>& dout) {
    const Tensor<T> dx = x.grad_to_add();
    for (int64_t i = 0; i < dout.numel(); ++i) dx[begin * cols + i] += dout[i];
  });
}

template <class T>
Variable<T> concat_rows(Variable<T> a, Variable<T> b) {
  check(a.cols() == b.cols(), kConcatRows.name, "widths differ: ", a.shape(), " and ", b.shape());
  Tape<T>& tape = a.tape();
  const Tensor<T> y = tape.make({a.rows() + b.rows(), a.cols()});
  const int64_t split = a.value().numel();
  std::copy(a.value().begin(), a.value().end(), y.data());
  std::copy(b.value().begin(), b.value().end(), y.data() + split);
  return tape.record(kConcatRows, y, {a, b}, [=](const Tensor<T>& dout) {
    const auto push = [](Variable<T> x, const T* share) {
      if (!x.requires_grad()) return;
      const GradTarget<T> dx = x.grad_target();
      for (int64_t i = 0; i < x.value().numel(); ++i) dx.data[i] = (dx.add ? dx.data[i] : T(0)) + share[i];
    };
    push(a, dout.data());
    push(b, dout.data() + split);
  });
}

#define TT_INSTANTIATE(T)                                             \
  template Variable<T> embedding(Variable<T>, Tensor<const int64_t>); \
  template Variable<T> slice_rows(Variable<T>, int64_t, int64_t);     \
  template Variable<T> concat_rows(Variable<T>, Variable<T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
