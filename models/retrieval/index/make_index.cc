#include <twotower/models/retrieval/index/exact.h>
#include <twotower/models/retrieval/index/make_index.h>
#include <twotower/models/retrieval/index/quantised.h>
#include <twotower/tensor/error.h>

namespace tt {

const std::vector<std::string>& index_kinds() {
  static const std::vector<std::string> kinds = {"exact", "fp16", "int8", "hnsw"};
  return kinds;
}

std::shared_ptr<const Index> make_index(std::string_view kind, Tensor<const float> items, const HnswOptions& options) {
  if (kind == "exact") return std::make_shared<ExactIndex>(items);
  if (kind == "fp16") return std::make_shared<QuantisedIndex>(items, RowFormat::fp16);
  if (kind == "int8") return std::make_shared<QuantisedIndex>(items, RowFormat::int8);
  if (kind == "hnsw") return std::make_shared<HnswIndex>(items, options);
  fail("index", "there is no kind \"", kind, "\"; choose exact, fp16, int8 or hnsw");
}

}  // namespace tt
