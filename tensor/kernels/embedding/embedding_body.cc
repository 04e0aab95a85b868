#include <twotower/tensor/kernels/embedding/embedding_body.h>
#include <twotower/tensor/kernels/simd.h>

namespace tt::kernels::TT_ISA {
namespace {

constexpr int64_t kAhead = 8;  // rows fetched before their turn: a random row costs a DRAM access

template <class T>
TT_INLINE void prefetch_row(const T* row, int64_t dim) {
  for (int64_t j = 0; j < dim; j += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(row + j);
}

template <class T>
void gather(const T* table, int64_t dim, const int64_t* ids, int64_t n, T* out, int64_t out_stride) {
  for (int64_t i = 0; i < n; ++i, out += out_stride) {
    if (i + kAhead < n && ids[i + kAhead] >= 0) prefetch_row(table + ids[i + kAhead] * dim, dim);
    if (ids[i] < 0) {
      TT_FOR_VECTORS (j, step, dim) store_step(out + j, vec<T>{}, step);
    } else {
      const T* row = table + ids[i] * dim;
      TT_FOR_VECTORS (j, step, dim) store_step(out + j, load_step(row + j, step), step);
    }
  }
}

template <class T>
TT_INLINE const T* source(const RowPart<T>* parts, int64_t num_parts, int64_t position) {
  int64_t part = 0;
  for (; part + 1 < num_parts && position >= parts[part].n; ++part) position -= parts[part].n;
  return parts[part].rows + position * parts[part].stride;
}

template <class T>
void sum_groups(const RowPart<T>* parts, int64_t num_parts, const RowGroups& g, int64_t lo, int64_t hi, int64_t dim,
                T* values) {
  const int64_t end = g.starts[hi];
  for (int64_t group = lo; group < hi; ++group) {
    T* to = values + group * dim;
    for (int64_t k = g.starts[group]; k < g.starts[group + 1]; ++k) {
      if (k + kAhead < end) prefetch_row(source(parts, num_parts, g.order[k + kAhead]), dim);
      const T* from = source(parts, num_parts, g.order[k]);
      if (k > g.starts[group]) {
        TT_FOR_VECTORS (j, step, dim) store_step(to + j, load_step(to + j, step) + load_step(from + j, step), step);
      } else {
        TT_FOR_VECTORS (j, step, dim) store_step(to + j, load_step(from + j, step), step);
      }
    }
  }
}

}  // namespace

TT_DEFINE_TABLES(EmbeddingTable, embedding, gather, sum_groups)

}  // namespace tt::kernels::TT_ISA
