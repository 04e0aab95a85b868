#pragma once
// Indexes by name, as `--index` gives it.

#include <twotower/models/retrieval/index/hnsw.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tt {

// The kinds by name: "exact", "fp16", "int8", "hnsw".
const std::vector<std::string>& index_kinds();

// One of these over items [C, D], a view that must outlive the index. options: of "hnsw". Throws
// Error for another name, and what the kind itself throws.
std::shared_ptr<const Index> make_index(std::string_view kind, Tensor<const float> items,
                                        const HnswOptions& options = {});

}  // namespace tt
