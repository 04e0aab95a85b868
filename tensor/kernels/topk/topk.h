#pragma once
// Exact top K. Order: higher score first, ties by smaller row. NaN is never returned.

#include <twotower/tensor/kernels/topk/row_filter.h>

#include <cstdint>

namespace tt::kernels {

// The k best of scores[0 .. n), best first, as rows base + i. Returns how many were found: min(k, n minus NaNs).
int64_t topk_scores(const float* scores, int64_t n, int64_t k, int64_t base, int64_t* rows, float* best);

// For each query, the k best rows of items by inner product. queries: [Q, D], items: [C, D]; rows, scores: [Q, k],
// best first. counts[q] (may be null) is how many were found; the rest is filled with row -1 and score -inf.
// C <= 2^32. Few queries run at memory bandwidth; many run as a matrix product. What a filter leaves costs what it
// holds where fewer than half of 64 neighbours are left. Same result for any number of threads.
void mips_topk(const float* queries, int64_t q, const float* items, int64_t c, int64_t d, int64_t k, int64_t* rows,
               float* scores, int64_t* counts = nullptr, const RowsToSearch& filter = {});

}  // namespace tt::kernels
