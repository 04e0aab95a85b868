#pragma once
// Writes Protocol Buffers' wire format (protobuf.dev, "Encoding"): enough of it for ONNX.

#include <cstdint>
#include <string>
#include <string_view>

namespace tt {

// The bytes of one message, field after field.
class ProtobufMessage {
 public:
  void add_number(int field, int64_t value);          // int32, int64, enum
  void add_bytes(int field, std::string_view value);  // string, bytes
  void add(int field, const ProtobufMessage& value) { add_bytes(field, value.bytes()); }
  // The head of a field whose `size` bytes follow from elsewhere.
  void add_head(int field, uint64_t size);

  const std::string& bytes() const { return bytes_; }

 private:
  void add_varint(uint64_t value);
  std::string bytes_;
};

}  // namespace tt
