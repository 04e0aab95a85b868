#include <twotower/tensor/kernels/gemm/gemm_body.h>
#include <twotower/tensor/kernels/quantised/candidates.h>
#include <twotower/tensor/kernels/quantised/coarse_queries.h>
#include <twotower/tensor/kernels/quantised/quantised.h>
#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <bit>

namespace tt::kernels {

const CoarseTable* int8_vnni_body() {
#if TT_X86_KERNELS
  static const bool wide = __builtin_cpu_supports("avx512vnni"), narrow = __builtin_cpu_supports("avxvnni");
  const int isa = active_isa_index();
  return isa == 2 && wide ? &avx512::int8_vnni_table : isa == 1 && narrow ? &avx2::int8_vnni_table : nullptr;
#else
  return nullptr;
#endif
}

namespace {

constexpr int64_t kTileBlocks = 8;
constexpr int64_t kTileRows = kTileBlocks * kBlockRows;
constexpr int64_t kFew = 3;          // mips_topk takes up to so many queries one by one
constexpr int64_t kOwnQueries = 16;  // from so many queries a thread on, threads divide the queries, not the corpus
constexpr int64_t kGroup = 512;      // queries that go through the corpus together
constexpr int64_t kTogether = 64;    // candidates that are scored together

// Some of the queries on their way through some of the corpus.
struct CoarseScan {
  const float* items;
  const QuantisedRows& coarse;
  RowsToSearch filter;
  const float* queries;
  bool one_by_one;   // how mips_topk would score them
  int64_t first, n;  // of all queries
  PreparedQueries prepared;
  const CoarseTable& table;

  // What a thread needs for itself.
  struct Scratch {
    Hit* hits;        // [kTileRows * kQueryTile]
    Hit* scored;      // [kTogether]
    float* scales;    // [kTileRows]
    float* gathered;  // [kTogether, d]
    float* packed;    // [strip, d]
    float* scores;    // [kTogether]
    static std::size_t bytes(int64_t d) {
      return (kTileRows * kQueryTile + kTogether) * sizeof(Hit) +
             static_cast<std::size_t>(kTileRows + kTogether * (d + 1) + Reservoirs::kStrip * d) * sizeof(float);
    }
    Scratch(void* memory, int64_t d)
        : hits(static_cast<Hit*>(memory)),
          scored(hits + kTileRows * kQueryTile),
          scales(reinterpret_cast<float*>(scored + kTogether)),
          gathered(scales + kTileRows),
          packed(gathered + kTogether * d),
          scores(packed + Reservoirs::kStrip * d) {}
  };

  // Scores candidates as mips_topk does, to the bit; those with NaN go.
  int64_t score(int64_t q, Candidate* all, int64_t size, const Scratch& scratch) const {
    const auto& topk = topk_body();
    const int64_t d = coarse.d;
    const float* query = queries + (first + q) * d;
    if (!one_by_one) gemm_body<float>().pack_transposed(query, d, 1, d, scratch.packed);
    int64_t left = std::partition(all, all + size, [](const Candidate& c) { return c.scored(); }) - all;
    for (int64_t at = left; at < size; at += kTogether) {
      const int64_t count = std::min(kTogether, size - at);
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < d; j += 16) __builtin_prefetch(items + all[at + i].row * d + j);
      for (int64_t i = 0; i < count; ++i) std::copy_n(items + all[at + i].row * d, d, scratch.gathered + i * d);
      if (one_by_one) {
        topk.dots(scratch.gathered, count, d, query, scratch.scores);
      } else {
        float thresholds[Reservoirs::kStrip];
        std::fill_n(thresholds, Reservoirs::kStrip, std::numeric_limits<float>::quiet_NaN());
        thresholds[0] = -std::numeric_limits<float>::infinity();
        std::fill_n(scratch.scores, count, std::numeric_limits<float>::quiet_NaN());
        const int64_t found =
            topk.scan(scratch.gathered, count, d, scratch.packed, 1, thresholds, scratch.scored, nullptr);
        for (int64_t h = 0; h < found; ++h) scratch.scores[scratch.scored[h].at / topk.strip] = scratch.scored[h].score;
      }
      for (int64_t i = 0; i < count; ++i)
        if (const float x = scratch.scores[i]; x == x) all[left++] = {x, x, all[at + i].row};
    }
    return left;
  }

  void range(int64_t lo, int64_t hi, const Scratch& scratch, Candidates& best) const {  // of blocks
    for (int64_t tile = lo; tile < hi; tile += kTileBlocks) {
      const int64_t end = std::min(hi, tile + kTileBlocks);
      if (filter.allowed == nullptr) {
        blocks(tile, end, hi, coarse.scales + tile * kBlockRows, scratch, best);
        continue;
      }
      for (int64_t b = tile; b < end;) {  // runs of blocks of which something is allowed
        int64_t to = b;
        for (; to < end; ++to) {
          const auto word = static_cast<uint32_t>(filter.allowed[to / 2] >> (to % 2 * 32));
          if (word == 0) break;
          for (int64_t r = 0; r < kBlockRows; ++r)
            scratch.scales[(to - b) * kBlockRows + r] =
                word >> r & 1 ? coarse.scales[to * kBlockRows + r] : std::numeric_limits<float>::quiet_NaN();
        }
        if (to > b) blocks(b, to, hi, scratch.scales, scratch, best);
        b = to + 1;
      }
    }
  }

  void blocks(int64_t from, int64_t to, int64_t end, const float* scales, const Scratch& scratch,
              Candidates& best) const {
    const auto bytes = static_cast<int64_t>(block_bytes(coarse.format, coarse.d));
    const auto score_them = [&](int64_t q, Candidate* all, int64_t size) { return score(q, all, size, scratch); };
    CoarseTile tile{coarse.blocks + from * bytes, scales, to - from, prepared.groups(), nullptr};
    if (to - from == kTileBlocks && to + kTileBlocks <= end) tile.fetch = tile.blocks + kTileBlocks * bytes;
    for (int64_t q = 0; q < n; q += prepared.each(), tile.fetch = nullptr) {
      const int64_t found = table.scan(tile, prepared.panel(q, best.thresholds()), scratch.hits);
      for (int64_t h = 0; h < found; ++h) {
        const int64_t at = scratch.hits[h].at / kQueryTile, query = q + scratch.hits[h].at % kQueryTile;
        const Candidate candidate = prepared.interval(query, scratch.hits[h].score, scales[at], from * kBlockRows + at);
        if (candidate.upper >= best.thresholds()[query] && filter.may_return(first + query, candidate.row))
          best.add(query, candidate, score_them);
      }
    }
  }

  void add_exceptions(const Scratch& scratch, Candidates& best) const {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    const auto score_them = [&](int64_t q, Candidate* all, int64_t size) { return score(q, all, size, scratch); };
    for (int64_t e = 0; e < coarse.exception_count; ++e)
      for (int64_t q = 0; q < n; ++q)
        if (filter.may_return(first + q, coarse.exceptions[e]))
          best.add(q, {-kInf, kInf, static_cast<uint32_t>(coarse.exceptions[e])}, score_them);
  }
};

// Where answers go.
struct Answers {
  int64_t k;
  int64_t* rows;
  float* scores;
  int64_t* counts;
  void take(const CoarseScan& scan, const CoarseScan::Scratch& scratch, Candidates& best, int64_t q) const {
    const int64_t query = scan.first + q;
    const int64_t found =
        best.write(q, k, rows + query * k, scores + query * k,
                   [&](int64_t of, Candidate* all, int64_t size) { return scan.score(of, all, size, scratch); });
    if (counts != nullptr) counts[query] = found;
  }
};

std::size_t whole_lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// Few queries: threads divide the corpus.
void divide_corpus(CoarseScan scan, int64_t k, const Answers& answers) {
  const int64_t workers = num_threads(), n = scan.n;
  const ThreadScope as_counted(static_cast<int>(workers));  // the process's default may change meanwhile
  const std::size_t queries = PreparedQueries::bytes(scan.coarse, scan.table, n),
                    own = CoarseScan::Scratch::bytes(scan.coarse.d);
  const std::size_t one = whole_lines(Candidates::bytes(n, k));
  const std::size_t of_candidates = static_cast<std::size_t>(workers) * (one + sizeof(Candidates));
  auto* memory = static_cast<std::byte*>(thread_scratch(0, queries + whole_lines(own) + of_candidates));
  scan.prepared = PreparedQueries(memory, scan.coarse, scan.table, scan.queries, n);
  const CoarseScan::Scratch callers(memory + queries, scan.coarse.d);
  std::byte* mine = memory + queries + whole_lines(own);
  auto* best = reinterpret_cast<Candidates*>(mine + static_cast<std::size_t>(workers) * one);
  for (int64_t t = 0; t < workers; ++t)
    best[t] = {mine + static_cast<std::size_t>(t) * one, n, k, scan.prepared.least()};
  scan.add_exceptions(callers, best[0]);

  const int64_t words = std::max<int64_t>(scan.prepared.groups(), 1) * std::min<int64_t>(n, 64);
  const int64_t grain = std::max<int64_t>(1, 4096 / words) * kTileBlocks;
  parallel_for(0, blocks_of(scan.coarse.rows), grain, [&](int64_t lo, int64_t hi, int worker) {
    scan.range(lo, hi, {thread_scratch(1, own), scan.coarse.d}, best[worker]);
  });
  for (int64_t q = 0; q < n; ++q) {
    for (int64_t t = 1; t < workers; ++t)
      best[0].merge(q, best[t],
                    [&](int64_t of, Candidate* all, int64_t size) { return scan.score(of, all, size, callers); });
    answers.take(scan, callers, best[0], q);
  }
}

// Many: threads divide the queries, so that each query has one threshold, which rises with all that was seen.
void divide_queries(const CoarseScan& all, int64_t k, const Answers& answers) {
  const int64_t workers = num_threads();
  const int64_t rounds = (all.n + workers * kGroup - 1) / (workers * kGroup);
  const int64_t group = (all.n + rounds * workers - 1) / (rounds * workers);
  parallel_for(0, all.n, group, [&](int64_t lo, int64_t hi) {
    CoarseScan scan = all;
    scan.first = lo, scan.n = hi - lo;
    const std::size_t queries = PreparedQueries::bytes(all.coarse, all.table, scan.n),
                      own = whole_lines(CoarseScan::Scratch::bytes(all.coarse.d));
    auto* memory = static_cast<std::byte*>(thread_scratch(1, queries + own + Candidates::bytes(scan.n, k)));
    scan.prepared = PreparedQueries(memory, all.coarse, all.table, all.queries + lo * all.coarse.d, scan.n);
    const CoarseScan::Scratch scratch(memory + queries, all.coarse.d);
    Candidates best(memory + queries + own, scan.n, k, scan.prepared.least());
    scan.add_exceptions(scratch, best);
    scan.range(0, blocks_of(all.coarse.rows), scratch, best);
    for (int64_t q = 0; q < scan.n; ++q) answers.take(scan, scratch, best, q);
  });
}

}  // namespace

void quantised_topk(const float* queries, int64_t q, const float* items, const QuantisedRows& coarse, int64_t k,
                    int64_t* rows, float* scores, int64_t* counts, const RowsToSearch& filter) {
  if (k < 1 || q < 1 || coarse.rows < 1 || !intervals_hold(coarse, queries, q)) {
    mips_topk(queries, q, items, coarse.rows, coarse.d, k, rows, scores, counts, filter);
    return;
  }
  const CoarseTable* vnni = coarse.format == RowFormat::int8 ? int8_vnni_body() : nullptr;
  const CoarseTable& table = vnni != nullptr ? *vnni : coarse.format == RowFormat::int8 ? int8_body() : fp16_body();
  const Answers answers{k, rows, scores, counts};
  const CoarseScan scan{items, coarse, filter, queries, q <= kFew, 0, q, {}, table};
  const int64_t most = std::min(coarse.rows, k);
  if (q >= std::max<int64_t>(num_threads() * kOwnQueries, Reservoirs::kStrip))
    divide_queries(scan, most, answers);
  else
    divide_corpus(scan, most, answers);
}

}  // namespace tt::kernels
