#include <twotower/train/export/protobuf.h>

namespace tt {
namespace {

enum WireType { kVarint = 0, kLength = 2 };

uint64_t tag(int field, WireType type) { return static_cast<uint64_t>(field) << 3 | type; }

}  // namespace

void ProtobufMessage::add_varint(uint64_t value) {  // seven bits a byte, the lowest first
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}

void ProtobufMessage::add_number(int field, int64_t value) {
  add_varint(tag(field, kVarint));
  add_varint(static_cast<uint64_t>(value));
}

void ProtobufMessage::add_head(int field, uint64_t size) {
  add_varint(tag(field, kLength));
  add_varint(size);
}

void ProtobufMessage::add_bytes(int field, std::string_view value) {
  add_head(field, value.size());
  bytes_ += value;
}

}  // namespace tt
