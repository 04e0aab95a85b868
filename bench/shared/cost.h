#pragma once
// What a training step cannot do without, counted from the shapes: the multiply-adds of its matrix products (two FLOPs
// each; exp, normalisation and the like are not counted, and nothing that a backward pass computes a second time), and
// the bytes that must pass between memory and the cores. The time that both need at this machine's measured peaks is
// the roofline bound: max(FLOPs / peak FLOP/s, bytes / peak bandwidth).

#include <string_view>

#include "bench/shared/workload.h"

namespace tt::bench {

struct Cost {
  double flops = 0, bytes = 0;
};

// One step (gather, forward, backward, Adam) of the model that `config` describes, on full-length histories.
Cost step_cost(const Workload& workload, const ModelConfig& config);

// Retrieval of `queries` from rows x width by an index of this kind that scans: every dot product, of bytes four times
// as fast as of floats; the rows read once, as the index holds them. Nothing of "hnsw", which walks.
Cost retrieval_cost(std::string_view index, int64_t queries, int64_t rows, int64_t width);

}  // namespace tt::bench
