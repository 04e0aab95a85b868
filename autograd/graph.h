#pragma once
// Draws a tape: Graphviz DOT, a box an op with its shape, an ellipse a parameter. `dot -Tsvg graph.dot > graph.svg`.

#include <twotower/autograd/tape.h>

#include <iosfwd>

namespace tt {

template <class T>
void write_graph(std::ostream& out, const Tape<T>& tape);

}  // namespace tt
