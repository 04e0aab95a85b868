#include <twotower/tensor/kernels/gemm/gemm_body.h>
#include <twotower/tensor/kernels/topk/reservoir.h>
#include <twotower/tensor/kernels/topk/row_filter.h>
#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/tensor/kernels/topk/topk_body.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>

namespace tt::kernels {
namespace {

constexpr int64_t kTile = 112;       // items in a tile: 8 x 14 rows
constexpr int64_t kFew = 3;          // up to so many queries go one by one
constexpr int64_t kOwnQueries = 16;  // from so many queries a thread on, threads divide the queries, not the corpus
constexpr int64_t kGroup = 512;      // queries that go through the corpus together
constexpr int64_t kStrip = Reservoirs::kStrip;

// Some of the queries on their way through some of the corpus.
struct Scan {
  const float* items;
  int64_t d;
  RowsToSearch rows;
  const float* queries;
  int64_t first, n;     // of all queries
  const float* packed;  // queries in strips of kStrip; null: one by one
  const TopkTable& topk;

  // What a thread needs for itself.
  struct Scratch {
    Hit* hits;        // [kTile * kStrip]
    float* gathered;  // [kTile, d]
    int64_t* ids;     // [kTile]
    float* scores;    // [kTile]
    static std::size_t bytes(int64_t d) {
      return kTile * kStrip * sizeof(Hit) + static_cast<std::size_t>(kTile * (d + 1)) * sizeof(float) +
             kTile * sizeof(int64_t);
    }
    Scratch(void* memory, int64_t d)
        : hits(static_cast<Hit*>(memory)),
          gathered(reinterpret_cast<float*>(hits + kTile * kStrip)),
          ids(reinterpret_cast<int64_t*>(gathered + kTile * d)),
          scores(reinterpret_cast<float*>(ids + kTile)) {}
  };

  void range(int64_t lo, int64_t hi, const Scratch& scratch, Reservoirs& best) const {
    rows.tiles(lo, hi, kTile, scratch.ids, [&](int64_t from, int64_t count, const int64_t* ids) {
      const float* tile = items + from * d;
      const float* fetch = from + 2 * kTile <= hi ? tile + kTile * d : nullptr;
      if (ids != nullptr) {
        for (int64_t i = 0; i < count; ++i) std::copy_n(items + ids[i] * d, d, scratch.gathered + i * d);
        tile = scratch.gathered, fetch = nullptr;
      }
      const auto add = [&](int64_t q, float score, int64_t at) {
        const int64_t row = ids != nullptr ? ids[at] : from + at;
        if (score >= best.thresholds()[q] && rows.may_return(first + q, row)) best.add(q, score, row);
      };
      if (packed == nullptr)
        one_by_one(tile, count, scratch, best, add);
      else
        strips(tile, count, fetch, scratch, best, add);
    });
  }

  template <class Add>
  void one_by_one(const float* tile, int64_t count, const Scratch& scratch, const Reservoirs& best, Add add) const {
    auto* hits = reinterpret_cast<int32_t*>(scratch.hits);
    for (int64_t q = 0; q < n; ++q) {
      topk.dots(tile, count, d, queries + (first + q) * d, scratch.scores);
      const int64_t found = topk.filter(scratch.scores, count, best.thresholds()[q], hits);
      for (int64_t h = 0; h < found; ++h) add(q, scratch.scores[hits[h]], hits[h]);
    }
  }

  template <class Add>
  void strips(const float* tile, int64_t count, const float* fetch, const Scratch& scratch, const Reservoirs& best,
              Add add) const {
    for (int64_t q = 0; q < n; q += topk.strip) {
      const int64_t found = topk.scan(tile, count, d, packed + q * d, std::min(topk.strip, n - q),
                                      best.thresholds() + q, scratch.hits, q == 0 ? fetch : nullptr);
      for (int64_t h = 0; h < found; ++h)
        add(q + scratch.hits[h].at % topk.strip, scratch.hits[h].score, scratch.hits[h].at / topk.strip);
    }
  }
};

// Where answers go.
struct Answers {
  int64_t k;
  int64_t* rows;
  float* scores;
  int64_t* counts;
  void take(Reservoirs& best, int64_t q, int64_t query) const {
    const int64_t found = best.write(q, k, rows + query * k, scores + query * k);
    if (counts != nullptr) counts[query] = found;
  }
};

std::size_t packed_bytes(const Scan& scan, const GemmTable<float>& gemm) {
  return static_cast<std::size_t>(packed_size(gemm, scan.n, scan.d)) * sizeof(float);
}

// Few queries: threads divide the corpus. The K best under a total order are the same however it is cut.
void divide_corpus(Scan scan, int64_t c, int64_t k, const Answers& answers) {
  const int64_t workers = num_threads(), n = scan.n;
  const ThreadScope as_counted(static_cast<int>(workers));  // the process's default may change meanwhile
  const auto& gemm = gemm_body<float>();
  const std::size_t packed = n > kFew ? packed_bytes(scan, gemm) : 0, one = (Reservoirs::bytes(n, k) + 63) / 64 * 64;
  auto* memory = static_cast<std::byte*>(
      thread_scratch(0, packed + static_cast<std::size_t>(workers) * (one + (sizeof(Reservoirs) + 63) / 64 * 64)));
  if (packed > 0) {
    gemm.pack_transposed(scan.queries + scan.first * scan.d, scan.d, n, scan.d, reinterpret_cast<float*>(memory));
    scan.packed = reinterpret_cast<float*>(memory);
  }
  std::byte* mine = memory + packed;
  auto* best = reinterpret_cast<Reservoirs*>(mine + static_cast<std::size_t>(workers) * one);
  for (int64_t t = 0; t < workers; ++t) best[t] = Reservoirs(mine + static_cast<std::size_t>(t) * one, n, k);

  const int64_t grain =
      std::max<int64_t>(4, 65536 / (std::max<int64_t>(scan.d, 1) * std::min<int64_t>(n, 64)) / 4) * 4 * kTile;
  parallel_for(0, c, grain, [&](int64_t lo, int64_t hi, int worker) {
    const Scan::Scratch scratch(thread_scratch(1, Scan::Scratch::bytes(scan.d)), scan.d);
    scan.range(lo, hi, scratch, best[worker]);
  });
  for (int64_t q = 0; q < n; ++q) {
    for (int64_t t = 1; t < workers; ++t) best[0].merge(q, best[t]);
    answers.take(best[0], q, scan.first + q);
  }
}

// Many: threads divide the queries, so that each has one reservoir, whose threshold rises with all that was seen.
void divide_queries(const Scan& all, int64_t c, int64_t k, const Answers& answers) {
  const int64_t workers = num_threads();
  const int64_t rounds = (all.n + workers * kGroup - 1) / (workers * kGroup);
  const int64_t group = ((all.n + rounds * workers - 1) / (rounds * workers) + kStrip - 1) / kStrip * kStrip;
  const auto& gemm = gemm_body<float>();
  parallel_for(0, all.n, group, [&](int64_t lo, int64_t hi) {
    Scan scan = all;
    scan.first = lo, scan.n = hi - lo;
    const std::size_t packed = packed_bytes(scan, gemm), own = (Scan::Scratch::bytes(all.d) + 63) / 64 * 64;
    auto* memory = static_cast<std::byte*>(thread_scratch(1, packed + own + Reservoirs::bytes(scan.n, k)));
    auto* strips = reinterpret_cast<float*>(memory);
    gemm.pack_transposed(all.queries + lo * all.d, all.d, scan.n, all.d, strips);
    scan.packed = strips;
    const Scan::Scratch scratch(memory + packed, all.d);
    Reservoirs best(memory + packed + own, scan.n, k);
    scan.range(0, c, scratch, best);
    for (int64_t q = 0; q < scan.n; ++q) answers.take(best, q, lo + q);
  });
}

}  // namespace

int64_t topk_scores(const float* scores, int64_t n, int64_t k, int64_t base, int64_t* rows, float* best) {
  k = std::min(k, n);
  if (k <= 0) return 0;
  constexpr int64_t kBlock = 4096;
  const std::size_t reservoir = Reservoirs::bytes(1, k);
  auto* memory = static_cast<std::byte*>(thread_scratch(2, reservoir + kBlock * sizeof(int32_t)));
  auto* hits = reinterpret_cast<int32_t*>(memory + reservoir);
  Reservoirs top(memory, 1, k);
  const auto filter = topk_body().filter;
  for (int64_t lo = 0; lo < n; lo += kBlock) {
    const int64_t found = filter(scores + lo, std::min(kBlock, n - lo), top.thresholds()[0], hits);
    for (int64_t h = 0; h < found; ++h) {
      const float score = scores[lo + hits[h]];
      if (score >= top.thresholds()[0]) top.add(0, score, lo + hits[h]);
    }
  }
  const int64_t found = top.write(0, k, rows, best);
  for (int64_t i = 0; i < found; ++i) rows[i] += base;
  return found;
}

void mips_topk(const float* queries, int64_t q, const float* items, int64_t c, int64_t d, int64_t k, int64_t* rows,
               float* scores, int64_t* counts, const RowsToSearch& filter) {
  if (k <= 0) {
    if (counts != nullptr) std::fill_n(counts, std::max<int64_t>(q, 0), 0);
    return;
  }
  if (q <= 0) return;
  const Answers answers{k, rows, scores, counts};
  const int64_t most = std::clamp<int64_t>(c, 1, k);
  Scan scan{items, d, filter, queries, 0, q, nullptr, topk_body()};
  if (q >= std::max(num_threads() * kOwnQueries, kStrip))
    divide_queries(scan, c, most, answers);
  else
    divide_corpus(scan, c, most, answers);
}

}  // namespace tt::kernels
