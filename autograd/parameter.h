#pragma once
// What training changes: a named tensor and, after a backward pass, its gradient. An embedding table's gradient is a
// list of rows (row_grad.h), everything else's is dense.

#include <twotower/autograd/row_grad.h>
#include <twotower/tensor/tensor.h>

#include <cstdint>
#include <string>

namespace tt {

template <class T>
struct Node;

template <class T>
struct Parameter {
  std::string name;
  Tensor<T> value;
  bool is_table = false;  // looked up by row: its gradient is `row_grad`
  bool trainable = true;
  double learning_rate_scale = 1;  // times the optimizer's rate: small estimators beside the towers settle faster

  Tensor<T> grad;       // dense gradient of the last backward pass; empty if nothing reached it
  RowGrad<T> row_grad;  // a table's gradient of the last backward pass

  // The tape's business: this step's leaf, and the lookups whose gradients will be added up.
  Node<T>* leaf = nullptr;
  uint64_t leaf_step = 0;
  RowGradPart<T>* parts = nullptr;

  void clear_grad() { grad = {}, row_grad = {}, parts = nullptr; }
};

}  // namespace tt
