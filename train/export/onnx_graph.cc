#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/export/onnx_graph.h>

#include <algorithm>
#include <bit>

namespace tt {
namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

constexpr int64_t kOpset = 13, kIrVersion = 7;
constexpr uint64_t kMostBytes = (uint64_t{1} << 31) - 1;

// Fields by their numbers in onnx.proto.
namespace model_proto {
constexpr int ir_version = 1, producer_name = 2, graph = 7, opset_import = 8, metadata_props = 14;
}
namespace graph_proto {
constexpr int node = 1, initializer = 5, input = 11, output = 12;
}
namespace node_proto {
constexpr int input = 1, output = 2, name = 3, op_type = 4, attribute = 5;
}
namespace attribute_proto {
constexpr int name = 1, i = 3, ints = 8, type = 20;
constexpr int64_t kInt = 2, kInts = 7;
}  // namespace attribute_proto
namespace tensor_proto {
constexpr int dims = 1, data_type = 2, name = 8, raw_data = 9;
}

bool is_number(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// ValueInfoProto.
ProtobufMessage value_info(const std::string& name, OnnxType type, const std::vector<std::string>& dimensions) {
  ProtobufMessage shape, tensor, wrapped, info;
  for (const std::string& dimension : dimensions) {
    ProtobufMessage d;
    is_number(dimension) ? d.add_number(1, std::stoll(dimension)) : d.add_bytes(2, dimension);
    shape.add(1, d);
  }
  tensor.add_number(1, static_cast<int64_t>(type));
  tensor.add(2, shape);
  wrapped.add(1, tensor);
  info.add_bytes(1, name);
  info.add(2, wrapped);
  return info;
}

}  // namespace

std::string OnnxGraph::input(const std::string& name, OnnxType type, const Names& dimensions) {
  graph_.add(graph_proto::input, value_info(name, type, dimensions));
  return name;
}

void OnnxGraph::output(const std::string& name, const std::string& value, OnnxType type, const Names& dimensions) {
  ProtobufMessage rename;
  rename.add_bytes(node_proto::input, value);
  rename.add_bytes(node_proto::output, name);
  rename.add_bytes(node_proto::op_type, "Identity");
  graph_.add(graph_proto::node, rename);
  graph_.add(graph_proto::output, value_info(name, type, dimensions));
}

std::string OnnxGraph::add(const std::string& name, OnnxType type, const Sizes& shape, const void* data, size_t bytes) {
  Initializer& made = initializers_.emplace_back(Initializer{{}, data, bytes});
  for (const int64_t size : shape) made.head.add_number(tensor_proto::dims, size);
  made.head.add_number(tensor_proto::data_type, static_cast<int64_t>(type));
  made.head.add_bytes(tensor_proto::name, name);
  made.head.add_head(tensor_proto::raw_data, bytes);
  return name;
}

std::string OnnxGraph::view(const std::string& name, Tensor<const float> values) {
  Sizes shape;
  for (int axis = 0; axis < values.shape().rank(); ++axis) shape.push_back(values.shape()[axis]);
  return add(name, OnnxType::f32, shape, values.data(), static_cast<size_t>(values.numel()) * sizeof(float));
}

std::string OnnxGraph::constant(const std::string& name, const Sizes& shape, std::vector<float> values) {
  const std::vector<float>& kept = floats_.emplace_back(std::move(values));
  return add(name, OnnxType::f32, shape, kept.data(), kept.size() * sizeof(float));
}

std::string OnnxGraph::number(float value) { return constant(fresh("number"), {}, {value}); }

std::string OnnxGraph::number(int64_t value) {
  const Sizes& kept = integers_.emplace_back(Sizes{value});
  return add(fresh("number"), OnnxType::i64, {}, kept.data(), sizeof value);
}

std::string OnnxGraph::numbers(const Sizes& values, const std::string& name) {
  const Sizes& kept = integers_.emplace_back(values);
  return add(name.empty() ? fresh("numbers") : name, OnnxType::i64, {static_cast<int64_t>(kept.size())}, kept.data(),
             kept.size() * sizeof(int64_t));
}

std::string OnnxGraph::node(const std::string& op, const Names& inputs, const std::vector<Attribute>& attributes) {
  ProtobufMessage made;
  for (const std::string& name : inputs) made.add_bytes(node_proto::input, name);
  std::string name = fresh(op);
  made.add_bytes(node_proto::output, name);
  made.add_bytes(node_proto::name, name);
  made.add_bytes(node_proto::op_type, op);
  for (const Attribute& attribute : attributes) {
    ProtobufMessage a;
    a.add_bytes(attribute_proto::name, attribute.name);
    for (const int64_t value : attribute.values)
      a.add_number(attribute.list ? attribute_proto::ints : attribute_proto::i, value);
    a.add_number(attribute_proto::type, attribute.list ? attribute_proto::kInts : attribute_proto::kInt);
    made.add(node_proto::attribute, a);
  }
  graph_.add(graph_proto::node, made);
  return name;
}

void OnnxGraph::metadata(const std::string& key, const std::string& value) {
  ProtobufMessage entry;
  entry.add_bytes(1, key);
  entry.add_bytes(2, value);
  model_.add(model_proto::metadata_props, entry);
}

// The tables go from where they lie to the file: only heads are put together in memory.
void OnnxGraph::write(const std::string& path) const {
  ProtobufMessage start, opset;
  start.add_number(model_proto::ir_version, kIrVersion);
  start.add_bytes(model_proto::producer_name, "twotower");
  opset.add_bytes(1, "");
  opset.add_number(2, kOpset);
  start.add(model_proto::opset_import, opset);
  std::vector<ProtobufMessage> heads(initializers_.size());
  uint64_t size = graph_.bytes().size();
  for (size_t i = 0; i < heads.size(); ++i) {
    const uint64_t tensor = initializers_[i].head.bytes().size() + initializers_[i].bytes;
    heads[i].add_head(graph_proto::initializer, tensor);
    size += heads[i].bytes().size() + tensor;
  }
  start.add_head(model_proto::graph, size);
  const uint64_t whole = start.bytes().size() + size + model_.bytes().size();
  check(whole <= kMostBytes, "export " + path, "the user tower with its tables takes ", whole,
        " bytes, an ONNX file holds less than 2 GiB; serve it with the library, or leave the table of users out with "
        "`twotower pack --no-users`");
  AtomicFile file(path);
  const auto write_text = [&](const std::string& text) { file.write(text.data(), text.size()); };
  write_text(start.bytes());
  write_text(graph_.bytes());
  for (size_t i = 0; i < heads.size(); ++i) {
    write_text(heads[i].bytes());
    write_text(initializers_[i].head.bytes());
    file.write(initializers_[i].data, initializers_[i].bytes);
  }
  write_text(model_.bytes());
  file.commit();
}

}  // namespace tt
