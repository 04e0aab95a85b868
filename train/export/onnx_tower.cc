#include <twotower/layers/positional_encoding.h>
#include <twotower/tensor/error.h>
#include <twotower/train/export/onnx_graph.h>
#include <twotower/train/export/onnx_tower.h>

#include <cmath>
#include <numbers>

namespace tt {
namespace {

using Name = std::string;  // of a value in the graph

class TowerGraph {
 public:
  TowerGraph(OnnxGraph& graph, const Bundle& bundle)
      : graph_(graph), config_(bundle.config()), parameters_(bundle.model().parameters()), bundle_(bundle) {}

  void add() {
    const int64_t d = config_.item_id_embedding_dim;
    std::vector<Name> blocks = {user_embedding()};
    if (config_.user_features_size > 0) {
      const Name features =
          graph_.input("user_features", OnnxType::f32, {"batch", std::to_string(config_.user_features_size)});
      blocks.push_back(linear(node("Relu", {linear(features, "user_features_arch.0")}), "user_features_arch.2"));
    }
    if (config_.history) add_history(blocks);
    Name u = blocks[0];
    if (config_.tower_head == "linear") {
      if (blocks.size() > 1) u = node("Concat", blocks, {{"axis", {1}}});
      u = linear(u, "user_tower_arch");
    } else {
      for (size_t i = 1; i < blocks.size(); ++i) u = node("Add", {u, blocks[i]});
    }
    if (config_.normalize) {
      const Name length = node("ReduceL2", {u}, {{"axes", {1}, true}, {"keepdims", {1}}});
      u = node("Div", {u, node("Max", {length, graph_.number(1e-12f)})});
    }
    graph_.output("user_embedding", u, OnnxType::f32, {"batch", std::to_string(d)});
  }

 private:
  Name node(const std::string& op, const std::vector<Name>& inputs,
            const std::vector<OnnxGraph::Attribute>& attributes = {}) {
    return graph_.node(op, inputs, attributes);
  }
  Tensor<const float> parameter(const std::string& name) const {
    const Parameter<float>* found = parameters_.find(name);
    check(found != nullptr, "export", "the model has no parameter \"", name, "\"");
    return found->value;
  }
  Name unsqueeze(const Name& x, int64_t axis) { return node("Unsqueeze", {x, graph_.numbers({axis})}); }
  Name to_float(const Name& x) { return node("Cast", {x}, {{"to", {static_cast<int64_t>(OnnxType::f32)}}}); }
  Name zero() { return graph_.number(0.0f); }

  // x W^T + b, for rows [first, first + count) of W, which is stored [out, in]: [.., in] -> [.., count].
  Name linear(const Name& x, const std::string& weight, const std::string& bias, int64_t first, int64_t count) {
    const Tensor<const float> w = parameter(weight), b = parameter(bias);
    const int64_t in = w.cols();
    std::vector<float> turned(static_cast<size_t>(in * count));
    for (int64_t o = 0; o < count; ++o)
      for (int64_t i = 0; i < in; ++i) turned[static_cast<size_t>(i * count + o)] = w.row(first + o)[i];
    const std::string rows = count == w.rows() ? "" : "[" + std::to_string(first) + ":]";
    const Name turned_w = graph_.constant(weight + rows + ".T", {in, count}, std::move(turned));
    const Name part = graph_.constant(bias + rows, {count}, {b.data() + first, b.data() + first + count});
    return node("Add", {node("MatMul", {x, turned_w}), part});
  }
  Name linear(const Name& x, const std::string& name) {
    return linear(x, name + ".weight", name + ".bias", 0, parameter(name + ".weight").rows());
  }

  // Of numbers as `export` lists users or items: which of them training has met, and their rows of the table, 0 for all
  // others. rows: the table's row of each that is listed, or -1.
  std::pair<Name, Name> known_rows(const Name& listed, const std::string& table, OnnxGraph::Sizes rows) {
    if (rows.empty()) rows = {-1};
    const Name none = graph_.number(int64_t{0});
    const Name there = node("GreaterOrEqual", {listed, none});
    const Name found = node("Gather", {graph_.numbers(rows, table + ".rows"), node("Where", {there, listed, none})});
    const Name known = node("And", {there, node("GreaterOrEqual", {found, none})});
    return {known, node("Where", {known, found, none})};
  }
  // Rows of which `gone` says 1 are not listed.
  static OnnxGraph::Sizes table_rows(std::span<const uint8_t> learnt, std::span<const uint8_t> gone) {
    OnnxGraph::Sizes rows;
    for (size_t r = 0; r < learnt.size(); ++r)
      if (gone.empty() || gone[r] == 0) rows.push_back(learnt[r] != 0 ? static_cast<int64_t>(r) : -1);
    return rows;
  }

  Name user_embedding() {
    const std::string table = "user_id_embedding_arch.weight";
    const Name id = graph_.input("user_id", OnnxType::i64, {"batch"});
    const auto [known, row] = known_rows(id, table, table_rows(bundle_.learnt_users(), {}));
    const Name vectors = node("Gather", {graph_.view(table, parameter(table)), row});
    return node("Where", {unsqueeze(known, 1), vectors, zero()});
  }

  // Items of the history, fused with the actions if the model has those: [batch, history, DI].
  Name history_items(const Name& row) {
    const std::string table = "item_id_embedding_arch.weight", encoder = "user_history_encoder.";
    const Name items = node("Gather", {graph_.view(table, parameter(table)), row});
    const int64_t kinds = config_.history_actions;
    if (kinds == 0) return items;
    const Name flags = graph_.input("history_actions", OnnxType::u8, {"batch", "history", std::to_string(kinds)});
    const std::string actions = encoder + "action_embedding.weight";
    const Name sums = node("MatMul", {to_float(flags), graph_.view(actions, parameter(actions))});
    return linear(node("Concat", {items, sums}, {{"axis", {2}}}), encoder + "fuse");
  }

  void add_history(std::vector<Name>& blocks) {
    const int64_t d = config_.item_id_embedding_dim, capacity = config_.user_history_seqlen;
    const Name ids = graph_.input("user_history", OnnxType::i64, {"batch", "history"});
    const auto [known, row] =
        known_rows(ids, "item_id_embedding_arch.weight", table_rows(bundle_.learnt_items(), bundle_.removed_items()));
    // The place of each item among those that are read, the newest 0; of the others what comes of it.
    const Name one = graph_.number(int64_t{1}), none = graph_.number(int64_t{0});
    const Name counted = node("Cast", {known}, {{"to", {static_cast<int64_t>(OnnxType::i64)}}});
    const Name place = node("Sub", {node("CumSum", {counted, one}), one});
    const Name read = node("And", {known, node("Less", {place, graph_.number(capacity)})});
    const Name newest =
        to_float(node("And", {read, node("Equal", {place, none})}));  // [batch, history], 1 at one place
    const Name mask = to_float(read);
    const Name axis = graph_.numbers({1});
    const Name length = node("ReduceSum", {mask, axis}, {{"keepdims", {1}}});  // [batch, 1]

    const Name items = history_items(row);
    const Name mean = node("Div", {pick(mask, items), node("Max", {length, graph_.number(1.0f)})});  // [batch, DI]

    Pool pool;
    const Tensor<float> pe = positional_encoding<float>(
        pool, capacity, d,
        config_.positional_encoding == "doubled" ? PositionalFormula::doubled : PositionalFormula::standard);
    const Name table = graph_.constant("positional_encoding", {capacity, d}, {pe.begin(), pe.end()});
    const Name from_end = node("Sub", {graph_.number(capacity - 1), place});
    Name x = node("Add", {items, node("Gather", {table, node("Where", {read, from_end, none})})});

    keys_ = unsqueeze(unsqueeze(node("Where", {read, zero(), graph_.number(-1e30f)}), 1), 1);  // [batch, 1, 1, history]
    const int64_t layers = config_.attention_layers;
    for (int64_t l = 0; l + 1 < layers; ++l) x = layer(l, x, x, "");
    // Nothing but the newest row of the last layer is read, so nothing else of it is computed.
    const Name first = unsqueeze(pick(newest, x), 1);  // [batch, 1, DI]
    const Name last = layers > 0 ? layer(layers - 1, first, x, newest) : first;
    const Name attended = node("Squeeze", {last, axis});
    blocks.push_back(node("Where", {node("Greater", {length, zero()}), attended, zero()}));
    blocks.push_back(mean);
  }

  // weights [batch, history], x [batch, history, DI] -> their sum over the history [batch, DI].
  Name pick(const Name& weights, const Name& x) {
    return node("Squeeze", {node("MatMul", {unsqueeze(weights, 1), x}), graph_.numbers({1})});
  }

  // One layer: what `queries` [batch, Q, DI], which are x or its newest row, make of x [batch, history, DI].
  Name layer(int64_t number, const Name& queries, const Name& x, const Name& newest) {
    const std::string at = "user_history_encoder.";
    if (!config_.transformer_blocks)
      return attention(at + "multihead_attn_layers." + std::to_string(number), queries, x);
    const std::string name = at + "blocks." + std::to_string(number);
    const Name normed = layer_norm(x, name + ".norm1");
    const Name asking = newest.empty() ? normed : unsqueeze(pick(newest, normed), 1);
    const Name sum = node("Add", {queries, attention(name + ".attention", asking, normed)});
    const Name wide = linear(layer_norm(sum, name + ".norm2"), name + ".ffn.0");
    return node("Add", {sum, linear(gelu(wide), name + ".ffn.2")});
  }

  Name attention(const std::string& name, const Name& queries, const Name& x) {
    const int64_t d = config_.item_id_embedding_dim, heads = config_.attention_heads, width = d / heads;
    const Name split = graph_.numbers({0, 0, heads, width}), joined = graph_.numbers({0, 0, d});
    const auto part = [&](const Name& of, int64_t which, const OnnxGraph::Sizes& order) {
      const Name rows = linear(of, name + ".in_proj_weight", name + ".in_proj_bias", which * d, d);
      return node("Transpose", {node("Reshape", {rows, split})}, {{"perm", order, true}});
    };
    const Name q = part(queries, 0, {0, 2, 1, 3}), k = part(x, 1, {0, 2, 3, 1}), v = part(x, 2, {0, 2, 1, 3});
    const Name scale = graph_.number(1 / std::sqrt(static_cast<float>(width)));
    const Name scores =
        node("Add", {node("Mul", {node("MatMul", {q, k}), scale}), keys_});  // [batch, heads, Q, history]
    const Name mixed = node("MatMul", {node("Softmax", {scores}, {{"axis", {-1}}}), v});
    const Name rows = node("Transpose", {mixed}, {{"perm", {0, 2, 1, 3}, true}});
    return linear(node("Reshape", {rows, joined}), name + ".out_proj");
  }

  Name layer_norm(const Name& x, const std::string& name) {
    const auto mean = [&](const Name& of) {
      return node("ReduceMean", {of}, {{"axes", {-1}, true}, {"keepdims", {1}}});
    };
    const Name centred = node("Sub", {x, mean(x)});
    const Name variance = mean(node("Mul", {centred, centred}));
    const Name deviation = node("Sqrt", {node("Add", {variance, graph_.number(1e-5f)})});
    const Name gain = graph_.view(name + ".weight", parameter(name + ".weight"));
    const Name bias = graph_.view(name + ".bias", parameter(name + ".bias"));
    return node("Add", {node("Mul", {node("Div", {centred, deviation}), gain}), bias});
  }

  Name gelu(const Name& x) {  // x (1 + erf(x / sqrt 2)) / 2
    const Name erf = node("Erf", {node("Mul", {x, graph_.number(std::numbers::sqrt2_v<float> / 2)})});
    const Name twice = node("Mul", {x, node("Add", {erf, graph_.number(1.0f)})});
    return node("Mul", {twice, graph_.number(0.5f)});
  }

  OnnxGraph& graph_;
  const ModelConfig& config_;
  const ParameterSet<float>& parameters_;
  const Bundle& bundle_;
  Name keys_;  // added to the scores: keeps attention off what is not read
};

}  // namespace

void write_user_tower(const std::string& path, const Bundle& bundle) {
  OnnxGraph graph("user_tower");
  TowerGraph tower(graph, bundle);
  tower.add();
  graph.metadata("fingerprint.weights", bundle.weights_fingerprint());
  graph.metadata("model", to_json(bundle.config()));
  graph.write(path);
}

}  // namespace tt
