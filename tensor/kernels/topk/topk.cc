#include <twotower/tensor/kernels/gemm/gemm_body.h>
#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/tensor/kernels/topk/topk_body.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>

namespace tt::kernels {
namespace {

constexpr float kInf = __builtin_inff();
constexpr int64_t kTile = 112;          // items in one tile of scores: 8 x 14 rows
constexpr int64_t kTileQueries = 256;   // and queries: 112 KB of scores
constexpr int64_t kPassQueries = 1024;  // queries in one pass over the corpus
constexpr int64_t kFew = 4;             // up to so many queries go one by one

struct Entry {
  float score;
  int64_t row;
};

// Better first. As a heap's order it puts the worst kept entry at the root.
bool better(const Entry& a, const Entry& b) { return a.score > b.score || (a.score == b.score && a.row < b.row); }

struct Heap {
  Entry* entries;
  int64_t size, k;

  float threshold() const { return size < k ? -kInf : entries[0].score; }  // lower scores cannot enter
  void push(Entry e) {
    if (size < k) {
      entries[size++] = e;
      std::push_heap(entries, entries + size, better);
    } else if (better(e, entries[0])) {
      std::pop_heap(entries, entries + size, better);
      entries[size - 1] = e;
      std::push_heap(entries, entries + size, better);
    }
  }
};

struct Skip {
  const int64_t* offsets;
  const int64_t* rows;
  const uint64_t* allowed;
  bool has(int64_t q, int64_t row) const {
    if (allowed != nullptr && (allowed[row / 64] >> (row % 64) & 1) == 0) return true;
    return offsets != nullptr && std::binary_search(rows + offsets[q], rows + offsets[q + 1], row);
  }
};

int64_t write(Heap& heap, int64_t* rows, float* scores) {
  std::sort_heap(heap.entries, heap.entries + heap.size, better);
  for (int64_t i = 0; i < heap.size; ++i) rows[i] = heap.entries[i].row, scores[i] = heap.entries[i].score;
  for (int64_t i = heap.size; i < heap.k; ++i) rows[i] = -1, scores[i] = -kInf;
  return heap.size;
}

// One pass over the corpus for queries [first, first + n).
struct Pass {
  const float* queries;
  int64_t first, n;
  const float* items;
  int64_t c, d, k;
  Skip skip;
  Heap* heaps;          // [workers, n]
  float* thresholds;    // [workers, n rounded up to 32]; +inf behind the last query
  const float* packed;  // queries in strips
  const TopkTable& topk;
  const GemmTable<float>& gemm;

  void tile(int64_t lo, int64_t count, float* scores, int32_t* hits, Heap* heap, float* threshold) const;
  void few(int64_t lo, int64_t count, float* scores, int32_t* hits, Heap* heap) const;
};

void Pass::few(int64_t lo, int64_t count, float* scores, int32_t* hits, Heap* heap) const {
  for (int64_t q = 0; q < n; ++q) {
    topk.dots(items + lo * d, count, d, queries + (first + q) * d, scores);
    const int64_t found = topk.filter(scores, count, heap[q].threshold(), hits);
    for (int64_t h = 0; h < found; ++h) {
      const Entry e{scores[hits[h]], lo + hits[h]};
      if (e.score >= heap[q].threshold() && !skip.has(first + q, e.row)) heap[q].push(e);
    }
  }
}

void Pass::tile(int64_t lo, int64_t count, float* scores, int32_t* hits, Heap* heap, float* threshold) const {
  for (int64_t q0 = 0; q0 < n; q0 += kTileQueries) {
    const int64_t real = std::min(kTileQueries, n - q0), width = (real + 15) / 16 * 16;
    GemmBlock<float> g;
    g.m = count, g.n = width, g.k = d;
    g.a = items + lo * d, g.row_a = d;
    g.b = packed + q0 * d, g.row_b = gemm.nr, g.strip_b = gemm.nr * d, g.packed = true;
    g.c = scores, g.ldc = width;
    gemm.block(g);
    const int64_t found = topk.filter_tile(scores, count, width, threshold + q0, hits);
    for (int64_t h = 0; h < found; ++h) {
      const int64_t q = q0 + hits[h] % width;
      const Entry e{scores[hits[h]], lo + hits[h] / width};
      if (e.score < threshold[q] || skip.has(first + q, e.row)) continue;
      heap[q].push(e);
      threshold[q] = heap[q].threshold();
    }
  }
}

void run(Pass& p, int64_t* rows, float* scores, int64_t* counts) {
  const int64_t workers = num_threads(), width = (p.n + 31) / 32 * 32;
  const ThreadScope as_counted(static_cast<int>(workers));  // the process's default may change meanwhile
  const bool one_by_one = p.n <= kFew;
  const int64_t packed = one_by_one ? 0 : packed_size(p.gemm, width, p.d);
  const auto bytes =
      static_cast<std::size_t>(workers * p.n) * (static_cast<std::size_t>(p.k) * sizeof(Entry) + sizeof(Heap)) +
      static_cast<std::size_t>(workers * width + packed) * sizeof(float);
  auto* entries = static_cast<Entry*>(thread_scratch(0, bytes));
  p.heaps = reinterpret_cast<Heap*>(entries + workers * p.n * p.k);
  p.thresholds = reinterpret_cast<float*>(p.heaps + workers * p.n);
  for (int64_t t = 0; t < workers; ++t)
    for (int64_t q = 0; q < width; ++q) {
      if (q < p.n) p.heaps[t * p.n + q] = {entries + (t * p.n + q) * p.k, 0, p.k};
      p.thresholds[t * width + q] = q < p.n ? -kInf : kInf;
    }
  if (!one_by_one) {
    float* strips = p.thresholds + workers * width;
    p.gemm.pack_transposed(p.queries + p.first * p.d, p.d, p.n, p.d, strips);
    p.packed = strips;
  }

  // The K best under a total order are the same however the corpus is cut, so a heap for each worker is safe.
  const int64_t grain =
      std::max<int64_t>(4, 65536 / (std::max<int64_t>(p.d, 1) * std::min<int64_t>(p.n, 64)) / 4) * kTile;
  parallel_for(0, p.c, grain, [&](int64_t lo, int64_t hi, int worker) {
    const int64_t t = worker;
    auto* tile = static_cast<float*>(thread_scratch(1, static_cast<std::size_t>(kTile * kTileQueries) * 8));
    auto* hits = reinterpret_cast<int32_t*>(tile + kTile * kTileQueries);
    for (int64_t i = lo; i < hi; i += kTile) {
      const int64_t count = std::min(kTile, hi - i);
      if (one_by_one)
        p.few(i, count, tile, hits, p.heaps + t * p.n);
      else
        p.tile(i, count, tile, hits, p.heaps + t * p.n, p.thresholds + t * width);
    }
  });

  for (int64_t q = 0; q < p.n; ++q) {
    Heap& all = p.heaps[q];
    for (int64_t t = 1; t < workers; ++t) {
      const Heap& other = p.heaps[t * p.n + q];
      for (int64_t i = 0; i < other.size; ++i) all.push(other.entries[i]);
    }
    const int64_t found = write(all, rows + (p.first + q) * p.k, scores + (p.first + q) * p.k);
    if (counts != nullptr) counts[p.first + q] = found;
  }
}

}  // namespace

int64_t topk_scores(const float* scores, int64_t n, int64_t k, int64_t base, int64_t* rows, float* best) {
  if (k <= 0) return 0;
  constexpr int64_t kBlock = 4096;
  const auto bytes = static_cast<std::size_t>(k) * sizeof(Entry) + kBlock * sizeof(int32_t);
  auto* entries = static_cast<Entry*>(thread_scratch(2, bytes));
  auto* hits = reinterpret_cast<int32_t*>(entries + k);
  Heap heap{entries, 0, std::min(k, std::max<int64_t>(n, 0))};
  if (heap.k == 0) return 0;
  const auto filter = topk_body().filter;
  for (int64_t lo = 0; lo < n; lo += kBlock) {
    const int64_t found = filter(scores + lo, std::min(kBlock, n - lo), heap.threshold(), hits);
    for (int64_t h = 0; h < found; ++h) heap.push({scores[lo + hits[h]], base + lo + hits[h]});
  }
  std::sort_heap(entries, entries + heap.size, better);
  for (int64_t i = 0; i < heap.size; ++i) rows[i] = entries[i].row, best[i] = entries[i].score;
  return heap.size;
}

void mips_topk(const float* queries, int64_t q, const float* items, int64_t c, int64_t d, int64_t k, int64_t* rows,
               float* scores, int64_t* counts, const int64_t* skip_offsets, const int64_t* skip_rows,
               const uint64_t* allowed) {
  if (k <= 0) {
    if (counts != nullptr) std::fill_n(counts, std::max<int64_t>(q, 0), 0);
    return;
  }
  for (int64_t first = 0; first < q; first += kPassQueries) {
    Pass pass{queries,
              first,
              std::min(kPassQueries, q - first),
              items,
              c,
              d,
              k,
              {skip_offsets, skip_rows, allowed},
              nullptr,
              nullptr,
              nullptr,
              topk_body(),
              gemm_body<float>()};
    run(pass, rows, scores, counts);
  }
}

}  // namespace tt::kernels
