#pragma once
// Looking rows up in a table.

#include <twotower/autograd/tape.h>

namespace tt {

// table: [rows, d], ids: [n] -> [n, d]. The id -1 stands for "nothing" and gives a row of zeros. Any other id outside
// the table throws. If the table is a Parameter with is_table set, its gradient is a RowGrad; else it is dense.
template <class T>
Variable<T> embedding(Variable<T> table, Tensor<const int64_t> ids);

// Rows [begin, end) of x, as a view of the same memory.
template <class T>
Variable<T> slice_rows(Variable<T> x, int64_t begin, int64_t end);

// a over b: [m, d], [n, d] -> [m + n, d].
template <class T>
Variable<T> concat_rows(Variable<T> a, Variable<T> b);

}  // namespace tt
