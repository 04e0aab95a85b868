#pragma once
// The one place with hnswlib: a graph of neighbours as flat arrays.

#include <twotower/models/retrieval/index/hnsw.h>

namespace tt {

struct HnswGraph {
  int64_t entry = 0;
  std::vector<int32_t> ground, level_rows, level_ground;
  std::vector<int64_t> level_sizes;
};

// raw: the distance of two items is -x.y, as in hnswlib's own space of inner products, without the added coordinate;
// for tests that show why not. Throws Error for a vector that is not finite.
HnswGraph build_hnsw_graph(Tensor<const float> items, const HnswOptions& options, bool raw = false);

}  // namespace tt
