// The exported user tower, decoded from its bytes: what it says of itself, and that its nodes fit together. Whether it
// computes what the tower computes is checked with ONNX's own programs (tests/onnx/check_onnx.py).

#include <doctest/doctest.h>
#include <twotower/models/retrieval/live_catalog.h>
#include <twotower/models/retrieval/save_bundle.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/export/onnx_tower.h>

#include <cstring>
#include <map>
#include <set>

#include "tests/models/bundle_fixtures.h"

using namespace tt;
using namespace tt::testing;

namespace {

// A message's fields: numbers as they are, everything else as bytes.
struct Message {
  std::multimap<int, int64_t> numbers;
  std::multimap<int, std::string> texts;

  explicit Message(const std::string& bytes) {
    size_t at = 0;
    const auto varint = [&] {
      uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<unsigned char>(bytes.at(at++));
        value |= static_cast<uint64_t>(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
    };
    while (at < bytes.size()) {
      const uint64_t tag = varint();
      const int field = static_cast<int>(tag >> 3);
      if ((tag & 7) == 0) {
        numbers.emplace(field, static_cast<int64_t>(varint()));
        continue;
      }
      REQUIRE((tag & 7) == 2);
      const auto size = static_cast<size_t>(varint());
      REQUIRE(at + size <= bytes.size());
      texts.emplace(field, bytes.substr(at, size));
      at += size;
    }
  }
  int64_t number(int field) const { return numbers.find(field)->second; }
  std::string text(int field) const { return texts.find(field)->second; }
  std::vector<std::string> all(int field) const {
    std::vector<std::string> out;
    for (auto [at, end] = texts.equal_range(field); at != end; ++at) out.push_back(at->second);
    return out;
  }
};

struct Tower {
  std::map<std::string, std::string> inputs;  // name -> "type[dimensions]"
  std::map<std::string, Message> constants;   // by name
  std::multiset<std::string> ops;
  std::string output;

  explicit Tower(const std::string& path) {
    const Message model(read_whole_file(path));
    CHECK(model.number(1) == 7);                    // ir_version
    CHECK(Message(model.text(8)).number(2) == 13);  // opset
    const Message graph(model.text(7));
    std::set<std::string> known;
    for (const std::string& input : graph.all(11)) {
      inputs[Message(input).text(1)] = described(input);
      known.insert(Message(input).text(1));
    }
    for (const std::string& constant : graph.all(5)) {
      const Message tensor(constant);
      CHECK(known.insert(tensor.text(8)).second);
      constants.emplace(tensor.text(8), tensor);
    }
    for (const std::string& node : graph.all(1)) {
      const Message n(node);
      for (const std::string& input : n.all(1)) CHECK(known.count(input) == 1);  // in an order that can be computed
      for (const std::string& made : n.all(2)) CHECK(known.insert(made).second);
      ops.insert(n.text(4));
    }
    REQUIRE(graph.all(12).size() == 1);
    output = Message(graph.text(12)).text(1) + described(graph.text(12));
    CHECK(known.count(Message(graph.text(12)).text(1)) == 1);
    for (const std::string& entry : model.all(14)) metadata[Message(entry).text(1)] = Message(entry).text(2);
  }
  std::map<std::string, std::string> metadata;

  static std::string described(const std::string& value_info) {
    const Message tensor(Message(Message(value_info).text(2)).text(1));
    std::string text = std::to_string(tensor.number(1));
    for (const std::string& dimension : Message(tensor.text(2)).all(1)) {
      const Message d(dimension);
      text += " " + (d.texts.empty() ? std::to_string(d.number(1)) : d.text(2));
    }
    return text;
  }
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const std::string raw = constants.at(name).text(9);
    std::vector<T> out(raw.size() / sizeof(T));
    std::memcpy(out.data(), raw.data(), raw.size());
    return out;
  }
  std::vector<float> floats(const std::string& name) const { return values<float>(name); }
  std::vector<int64_t> numbers(const std::string& name) const { return values<int64_t>(name); }
};

Tower exported(const ModelConfig& config, std::string* fingerprint = nullptr) {
  const TempFolder folder;
  HandMade made(config, 5, 8);
  const Bundle bundle = Bundle::open(made.write(folder));
  write_user_tower(folder.path() + "/tower.onnx", bundle);
  if (fingerprint) *fingerprint = bundle.weights_fingerprint();
  return Tower(folder.path() + "/tower.onnx");
}

}  // namespace

TEST_CASE("onnx: inputs and output by their names, types and shapes; batch and history are free") {
  ModelConfig config = rung_config("history");
  config.history_actions = 2;
  std::string fingerprint;
  const Tower tower = exported(config, &fingerprint);
  const std::map<std::string, std::string> expected = {{"user_id", "7 batch"},
                                                       {"user_features", "1 batch 3"},
                                                       {"user_history", "7 batch history"},
                                                       {"history_actions", "2 batch history 2"}};
  CHECK(tower.inputs == expected);
  CHECK(tower.output == "user_embedding1 batch 4");
  CHECK(tower.metadata.at("fingerprint.weights") == fingerprint);
  CHECK(exported(rung_config("base")).inputs ==
        std::map<std::string, std::string>{{"user_id", "7 batch"}, {"user_features", "1 batch 3"}});
}

TEST_CASE("onnx: the weights are the model's, products turned; who is not learnt is marked") {
  const ModelConfig config = rung_config("history");
  const HandMade made(config, 5, 8);
  const Tower tower = exported(config);
  const auto value = [&](const char* name) { return made.model.parameters().find(name)->value; };
  const Tensor<float> table = value("item_id_embedding_arch.weight"), head = value("user_tower_arch.weight");
  CHECK(tower.floats("item_id_embedding_arch.weight") == std::vector<float>(table.begin(), table.end()));
  const std::vector<float> turned = tower.floats("user_tower_arch.weight.T");
  REQUIRE(static_cast<int64_t>(turned.size()) == head.numel());
  for (int64_t o = 0; o < head.rows(); ++o)
    for (int64_t i = 0; i < head.cols(); ++i) CHECK(turned[static_cast<size_t>(i * head.rows() + o)] == head.row(o)[i]);
  // Eight items and five users, of whom the last are not learnt.
  CHECK(tower.numbers("item_id_embedding_arch.weight.rows") == std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, -1});
  CHECK(tower.numbers("user_id_embedding_arch.weight.rows") == std::vector<int64_t>{0, 1, 2, 3, -1});
}

TEST_CASE("onnx: items are numbered as they are listed, also where some came after training and some are gone") {
  const TempFolder folder;
  HandMade made(rung_config("history"), 5, 8);
  const Bundle bundle = Bundle::open(made.write(folder));
  LiveCatalog items(bundle);
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) names.push_back("new" + std::to_string(i));
  const std::vector<float> features(40, 1);
  items.add(std::vector<std::string_view>(names.begin(), names.end()), features);
  const std::vector<std::string_view> gone = {"i2", "new0"};
  items.remove(gone);
  save_bundle(folder.path() + "/saved", bundle, items.snapshot());
  write_user_tower(folder.path() + "/tower.onnx", Bundle::open(folder.path() + "/saved"));
  std::vector<int64_t> rows = {0, 1, 3, 4, 5, 6, -1};
  rows.resize(7 + 19, -1);
  CHECK(Tower(folder.path() + "/tower.onnx").numbers("item_id_embedding_arch.weight.rows") == rows);
}

TEST_CASE("onnx: every kind of tower fits together") {
  for (const bool blocks : {false, true})
    for (const int64_t layers : {0, 1, 3})
      for (const char* head : {"linear", "sum"}) {
        ModelConfig config = rung_config("history");
        config.transformer_blocks = blocks, config.attention_layers = layers, config.tower_head = head;
        config.user_id_embedding_dim = config.item_id_embedding_dim, config.normalize = blocks;
        CAPTURE(blocks);
        CAPTURE(layers);
        CAPTURE(head);
        const Tower tower = exported(config);
        CHECK(static_cast<int64_t>(tower.ops.count("Softmax")) == layers);
        CHECK(static_cast<int64_t>(tower.ops.count("Erf")) == (blocks ? layers : 0));
        CHECK(tower.ops.count("ReduceL2") == (blocks ? 1 : 0));
      }
}
