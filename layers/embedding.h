#pragma once
// A table of vectors looked up by id; its gradient is the touched rows, or dense for a table so small that every row
// may move in every step (autograd/ops/rows/embedding.h). Parameter: NAME.weight [rows, width].

#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/layers/parameter_set.h>

namespace tt {

template <class T>
struct Embedding {
  Embedding() = default;
  Embedding(ParameterSet<T>& parameters, const std::string& name, int64_t rows, int64_t width,
            const Initializer& how = Initializer::normal(0.1), TableGradient table_gradient = TableGradient::rows)
      : weight(parameters.add(name + ".weight", {rows, width}, how)), gradient(table_gradient) {}

  // ids: [n], -1 gives zeros -> [n, width].
  Variable<T> operator()(Tape<T>& tape, Tensor<const int64_t> ids) const {
    return embedding(tape.parameter(*weight), ids, gradient);
  }

  Parameter<T>* weight = nullptr;
  TableGradient gradient = TableGradient::rows;
};

}  // namespace tt
