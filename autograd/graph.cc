#include <twotower/autograd/graph.h>

#include <ostream>
#include <unordered_map>

namespace tt {

template <class T>
void write_graph(std::ostream& out, const Tape<T>& tape) {
  out << "digraph tape {\n  rankdir=BT;\n  node [fontname=\"sans-serif\", fontsize=10];\n";
  std::unordered_map<const Node<T>*, size_t> number;
  for (const Node<T>* node : tape.nodes()) {
    const size_t id = number.size();
    number[node] = id;
    const bool leaf = node->op == nullptr;
    out << "  n" << id << " [shape=" << (leaf ? "ellipse" : "box") << ", label=\""
        << (node->parameter ? node->parameter->name
            : leaf          ? (node->requires_grad ? "variable" : "constant")
                            : node->op->name)
        << "\\n"
        << node->value.shape() << '"';
    if (node->parameter)
      out << ", style=filled, fillcolor=lightyellow";
    else if (!node->requires_grad)
      out << ", color=gray, fontcolor=gray";
    out << "];\n";
    for (int i = 0; i < node->input_count; ++i) out << "  n" << number.at(node->inputs[i]) << " -> n" << id << ";\n";
  }
  out << "}\n";
}

template void write_graph(std::ostream&, const Tape<float>&);
template void write_graph(std::ostream&, const Tape<double>&);

}  // namespace tt
