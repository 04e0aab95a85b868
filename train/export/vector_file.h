#pragma once
// Vectors with their ids, in the formats that vector databases and indexes load (docs/formats.md, "Export").

#include <twotower/tensor/tensor.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tt {

struct NamedVectors {
  std::string name;                            // "item_embedding" or "user_embedding"
  std::string id_name;                         // "item" or "user": the key of the ids in jsonl, csv and opensearch
  Tensor<const float> vectors;                 // [N, D]
  std::vector<std::string_view> ids;           // [N]
  std::vector<std::string> payload;            // [N] more members of a JSON object, `,"title":"Alien"`, or empty
  std::map<std::string, std::string> origins;  // what safetensors says of it: fingerprint.weights and the like
};

// The formats by name: "npy", "safetensors", "fbin", "jsonl", "opensearch", "csv".
const std::vector<std::string>& vector_formats();
// The format that a file's name ends in. Error with the choices for any other end.
std::string vector_format_of(const std::string& path);

// Whether the format is of numbers alone, so that the ids go to PATH.ids.txt, one a line.
bool has_id_file(const std::string& format);

// Atomic; of two files neither is ever beside an older other one. Throws Error, before anything is written, for an id
// that the format cannot hold, and for a number that is not finite where a format has none.
void write_vectors(const std::string& path, const std::string& format, const NamedVectors& of);

// What Qdrant takes as the id of a point: a whole number as it is, any other text as a UUID made from its hash, so that
// one id is the same point in every export.
std::string point_id(std::string_view id);

}  // namespace tt
