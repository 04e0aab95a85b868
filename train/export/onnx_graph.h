#pragma once
// An ONNX model (onnx.ai, opset 13) put together node by node and written without any library of ONNX's.
//
//   OnnxGraph graph("user_tower");
//   const std::string x = graph.input("x", OnnxType::f32, {"batch", "8"});
//   graph.output("y", graph.node("Relu", {x}), OnnxType::f32, {"batch", "8"});
//   graph.write("relu.onnx");

#include <twotower/tensor/tensor.h>
#include <twotower/train/export/protobuf.h>

#include <deque>
#include <string>
#include <vector>

namespace tt {

enum class OnnxType { f32 = 1, u8 = 2, i64 = 7 };  // numbered as TensorProto.DataType

class OnnxGraph {
 public:
  explicit OnnxGraph(const std::string& name) { graph_.add_bytes(2, name); }
  OnnxGraph(const OnnxGraph&) = delete;
  OnnxGraph& operator=(const OnnxGraph&) = delete;

  using Names = std::vector<std::string>;
  using Sizes = std::vector<int64_t>;

  // A dimension is a number, or a name for one that is free.
  std::string input(const std::string& name, OnnxType type, const Names& dimensions);
  void output(const std::string& name, const std::string& value, OnnxType type, const Names& dimensions);

  // Constants. The numbers of a view must live until write() returns.
  std::string view(const std::string& name, Tensor<const float> values);
  std::string constant(const std::string& name, const Sizes& shape, std::vector<float> values);
  std::string number(float value);  // a scalar
  std::string number(int64_t value);
  std::string numbers(const Sizes& values, const std::string& name = "");  // [n]

  struct Attribute {
    std::string name;
    Sizes values;
    bool list = false;  // ints rather than one int
  };
  // Adds a node of one output, and returns that output's name.
  std::string node(const std::string& op, const Names& inputs, const std::vector<Attribute>& attributes = {});

  void metadata(const std::string& key, const std::string& value);

  // Atomic. Error for a model of 2 GiB and more, which protobuf cannot hold.
  void write(const std::string& path) const;

 private:
  struct Initializer {
    ProtobufMessage head;  // all but the numbers
    const void* data;
    size_t bytes;
  };
  std::string add(const std::string& name, OnnxType type, const Sizes& shape, const void* data, size_t bytes);
  std::string fresh(const std::string& stem) { return stem + "_" + std::to_string(count_++); }

  ProtobufMessage graph_, model_;
  std::vector<Initializer> initializers_;
  std::deque<std::vector<float>> floats_;  // of the constants
  std::deque<Sizes> integers_;
  int64_t count_ = 0;
};

}  // namespace tt
