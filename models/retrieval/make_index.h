#pragma once
// Indexes by name, as `--index` gives it.

#include <twotower/models/retrieval/hnsw.h>

#include <memory>
#include <string_view>

namespace tt {

// "exact", "fp16", "int8" or "hnsw" over items [C, D], a view that must outlive the index. options: of "hnsw". Throws
// Error for another name, and what the kind itself throws.
std::shared_ptr<const Index> make_index(std::string_view kind, Tensor<const float> items,
                                        const HnswOptions& options = {});

}  // namespace tt
