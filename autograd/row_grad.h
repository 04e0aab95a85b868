#pragma once
// The gradient of an embedding table: only the rows a batch looked up. Cost and memory grow with the batch, never with
// the table.

#include <twotower/tensor/memory.h>
#include <twotower/tensor/tensor.h>

#include <cstdint>

namespace tt {

template <class T>
struct RowGrad {
  Tensor<const int64_t> rows;  // [n], sorted, unique
  Tensor<T> values;            // [n, D]: dL/d table[rows[i]]
  int64_t count() const { return rows.numel(); }
};

// One lookup's share: row ids[i] of the table receives grad[i]. A negative id receives nothing.
template <class T>
struct RowGradPart {
  Tensor<const int64_t> ids;  // [n]
  Tensor<T> grad;             // [n, D]
  RowGradPart* next = nullptr;
};

// Adds up all parts. Rows are summed in the order of the parts and of the ids within them, each row by one thread, so
// the result does not depend on the number of threads.
template <class T>
RowGrad<T> sum_rows(const RowGradPart<T>* parts, Arena& arena);

// table[rows[i]] += values[i]
template <class T>
void add_rows(const RowGrad<T>& gradient, Tensor<T> table);

}  // namespace tt
