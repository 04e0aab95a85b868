#pragma once
// Looking rows up in a table.

#include <twotower/autograd/tape.h>

namespace tt {

// What a lookup hands back to a parameter: the touched rows (row_grad.h), so that the cost grows with the batch and an
// optimizer leaves the other rows alone; or a gradient of the table's whole shape, for tables so small that every row
// may move in every step (Adam's momentum then does). To anything but a parameter it is always dense.
enum class TableGradient { rows, dense };

// table: [rows, d], ids: [n] -> [n, d]. The id -1 stands for "nothing" and gives a row of zeros. Any other id outside
// the table throws.
template <class T>
Variable<T> embedding(Variable<T> table, Tensor<const int64_t> ids, TableGradient gradient = TableGradient::rows);

}  // namespace tt
