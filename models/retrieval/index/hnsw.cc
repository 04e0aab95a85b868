#include <twotower/models/retrieval/index/exact.h>
#include <twotower/models/retrieval/index/hnsw.h>
#include <twotower/models/retrieval/index/hnsw_graph.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/kernels/distance/distance.h>
#include <twotower/tensor/kernels/topk/row_filter.h>
#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace tt {
namespace {

constexpr int64_t kMostLinks = 256, kMostLevels = 64;
// A row that a walk looks at costs about as much as four that a scan passes.
constexpr int64_t kScan = 4;

struct Found {
  float score;
  int32_t row;
};
// As answers are ordered. Heaps by it have the worst on top, heaps by its reverse the best.
bool better(const Found& a, const Found& b) { return a.score > b.score || (a.score == b.score && a.row < b.row); }
bool worse(const Found& a, const Found& b) { return better(b, a); }

int64_t count_rows(std::span<const uint64_t> bits) {
  int64_t count = 0;
  for (const uint64_t word : bits) count += std::popcount(word);
  return count;
}

}  // namespace

// One query's way through the graph. All memory is the thread's.
struct HnswIndex::Walk {
  Walk(const HnswIndex& i, int64_t ef, int64_t most)
      : index(i),
        keep(ef),
        budget(most),
        links(2 * i.parts_.links),
        words((i.size() + 63) / 64),
        seen(static_cast<uint64_t*>(thread_scratch(4, static_cast<size_t>(words) * sizeof(uint64_t) +
                                                          static_cast<size_t>(keep + 1 + budget) * sizeof(Found) +
                                                          static_cast<size_t>(links) * 2 * sizeof(float)))),
        best(reinterpret_cast<Found*>(seen + words)),
        candidates(best + keep + 1),
        rows(reinterpret_cast<int32_t*>(candidates + budget)),
        scores(reinterpret_cast<float*>(rows + links)) {}

  const HnswIndex& index;
  int64_t keep, budget;  // how many of the best are kept; how many rows may be looked at
  int64_t links, words;
  uint64_t* seen;     // [C] bits
  Found* best;        // [keep + 1], a heap with the worst on top
  Found* candidates;  // [budget], a heap with the best on top: rows whose neighbours are yet to be looked at
  int32_t* rows;      // [links]
  float* scores;      // [links]
  int64_t found = 0, waiting = 0, looked = 0;

  // rows and scores: the neighbours in a list of `most`, up to the first that is no row; `fresh`: that were not seen.
  template <bool fresh>
  int64_t score_neighbours(const int32_t* list, int64_t most, const float* query) {
    const auto c = static_cast<uint32_t>(index.size());
    int64_t n = 0;
    for (int64_t i = 0; i < most; ++i) {
      const auto row = static_cast<uint32_t>(list[i]);
      if (row >= c) break;
      if constexpr (fresh) {
        const uint64_t bit = uint64_t{1} << (row % 64);
        if (seen[row / 64] & bit) continue;
        seen[row / 64] |= bit;
      }
      rows[n++] = static_cast<int32_t>(row);
    }
    kernels::dots_at(index.items_.data(), index.width(), rows, n, query, scores);
    return n;
  }

  // Down through the levels, on each to the row whose neighbours are all worse.
  Found descend(const float* query) {
    const Parts& parts = index.parts_;
    auto end = static_cast<int64_t>(parts.level_rows.size());
    Found at{0, static_cast<int32_t>(parts.entry)};
    kernels::dots_at(index.items_.data(), index.width(), &at.row, 1, query, &at.score);
    for (size_t level = parts.level_sizes.size(); level-- > 0;) {
      const int64_t begin = end - parts.level_sizes[level];
      const auto first = parts.level_rows.begin() + begin, last = parts.level_rows.begin() + end;
      for (bool moved = true; moved;) {
        moved = false;
        const auto here = std::lower_bound(first, last, at.row);
        if (here == last || *here != at.row) break;
        const int64_t place = here - parts.level_rows.begin();
        const int64_t n = score_neighbours<false>(parts.level_ground.data() + place * parts.links, parts.links, query);
        for (int64_t i = 0; i < n; ++i)
          if (scores[i] > at.score) at = {scores[i], rows[i]}, moved = true;
      }
      end = begin;
    }
    return at;
  }

  void look_at(Found row, int64_t q, const kernels::RowsToSearch& may) {
    ++looked;
    if (!(found < keep || better(row, best[0]))) return;  // NaN neither
    __builtin_prefetch(index.parts_.ground.data() + int64_t{row.row} * links);
    candidates[waiting++] = row;
    std::push_heap(candidates, candidates + waiting, worse);
    if (!may.may_return(q, row.row)) return;
    best[found++] = row;
    std::push_heap(best, best + found, better);
    if (found > keep) std::pop_heap(best, best + found--, better);
  }

  // Leaves what it found in best[0 .. found), best first; false: it would have cost more than a scan.
  bool run(const float* query, int64_t q, const kernels::RowsToSearch& may) {
    std::fill_n(seen, words, 0);
    found = waiting = looked = 0;
    const Found start = descend(query);
    if (!std::isfinite(start.score)) return false;  // as for every query that is not
    seen[start.row / 64] |= uint64_t{1} << (start.row % 64);
    look_at(start, q, may);
    while (waiting > 0) {
      std::pop_heap(candidates, candidates + waiting, worse);
      const Found from = candidates[--waiting];
      if (found == keep && better(best[0], from)) break;
      if (looked + links > budget) return false;
      const int64_t n = score_neighbours<true>(index.parts_.ground.data() + int64_t{from.row} * links, links, query);
      for (int64_t i = 0; i < n; ++i)
        if (!std::isnan(scores[i])) look_at({scores[i], rows[i]}, q, may);
    }
    std::sort_heap(best, best + found, better);
    return true;
  }
};

HnswIndex::HnswIndex(Tensor<const float> items, const HnswOptions& options) : items_(items) {
  check(options.links >= 2 && options.links <= kMostLinks, "hnsw", "a row cannot have ", options.links,
        " links; give 2 to ", kMostLinks);
  check(options.ef_construction >= 1, "hnsw", "ef_construction = ", options.ef_construction, "; give at least 1");
  check(options.recall > 0 && options.recall <= 1, "hnsw", "a recall of ", options.recall,
        " cannot be reached; give one in (0, 1]");
  check(size() < std::numeric_limits<int32_t>::max(), "hnsw", "there are ", size(),
        " items; split them into parts of fewer than 2^31");
  parts_.links = options.links, parts_.ef = 100;
  if (size() == 0) return;
  HnswGraph graph = build_hnsw_graph(items, options);
  own_ground_ = std::move(graph.ground), own_level_rows_ = std::move(graph.level_rows);
  own_level_ground_ = std::move(graph.level_ground), own_level_sizes_ = std::move(graph.level_sizes);
  parts_.entry = graph.entry;
  parts_.ground = own_ground_, parts_.level_rows = own_level_rows_;
  parts_.level_ground = own_level_ground_, parts_.level_sizes = own_level_sizes_;
  while (true) {
    recall_ = measure_recall(*this, items);
    if (recall_.share >= options.recall || parts_.ef * parts_.links * kScan >= size()) break;
    parts_.ef += parts_.ef / 2;
  }
}

HnswIndex::HnswIndex(Tensor<const float> items, const Parts& parts, const Recall& recall)
    : items_(items), parts_(parts), recall_(recall) {
  const int64_t c = size(), m = parts.links;
  check(m >= 2 && m <= kMostLinks && parts.ef >= 1 && c < std::numeric_limits<int32_t>::max(), "hnsw", "no graph has ",
        m, " links a row and ef = ", parts.ef, "; build it anew");
  check(static_cast<int64_t>(parts.ground.size()) == c * 2 * m, "hnsw", "the graph has ", parts.ground.size(),
        " links, ", c, " items have ", c * 2 * m, "; build it anew");
  check(parts.entry >= 0 && parts.entry < std::max<int64_t>(c, 1), "hnsw", "the graph is entered at row ", parts.entry,
        ", there are ", c, "; build it anew");
  check(parts.level_sizes.size() <= kMostLevels &&
            static_cast<int64_t>(parts.level_ground.size()) == static_cast<int64_t>(parts.level_rows.size()) * m,
        "hnsw", "the graph's upper levels do not fit each other; build it anew");
  auto row = parts.level_rows.begin();
  for (const int64_t size : parts.level_sizes) {
    check(size >= 1 && size <= parts.level_rows.end() - row, "hnsw",
          "the graph's upper levels do not fit each other; build it anew");
    for (int64_t before = -1; const int32_t r : std::span(row, static_cast<size_t>(size))) {
      check(r > before && r < c, "hnsw", "the rows of the graph's upper levels are not ascending; build it anew");
      before = r;
    }
    row += size;
  }
  check(row == parts.level_rows.end(), "hnsw", "the graph's upper levels do not fit each other; build it anew");
}

HnswIndex::HnswIndex(const HnswIndex& index, int64_t ef) : items_(index.items_), parts_(index.parts_) {
  check(ef >= 1, "hnsw", "ef = ", ef, "; give at least 1");
  parts_.ef = ef;
  recall_ = measure_recall(*this, items_);
}

void HnswIndex::search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter) const {
  if (!begin_search(*this, queries, k, out, filter)) return;
  const int64_t q = queries.rows(), d = width();
  const int64_t allowed = filter.allowed.empty() ? size() : count_rows(filter.allowed);
  // A walk finds ef rows that may be returned among ef / share rows, and looks at about M rows for each of these.
  const int64_t keep = std::max(parts_.ef, std::min(k, size())), budget = allowed / kScan;
  const double cost = static_cast<double>(keep * parts_.links) * static_cast<double>(size());
  if (cost >= static_cast<double>(budget) * static_cast<double>(allowed))
    return ExactIndex(items_).search(queries, k, out, filter);

  const SkipRows* skip = filter.skip;
  const kernels::RowsToSearch may = rows_to_search(filter);
  // How many rows a query can have at most.
  const auto most = [&](int64_t i) {
    int64_t left = allowed;
    if (skip)
      for (int64_t s = skip->offsets[static_cast<size_t>(i)]; s < skip->offsets[static_cast<size_t>(i) + 1]; ++s) {
        const int64_t row = skip->rows[static_cast<size_t>(s)];
        left -= row >= 0 && row < size() && may.is_allowed(row);
      }
    return std::min(k, left);
  };
  parallel_for(0, q, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) {
      const float* query = queries.row(i);
      Walk walk(*this, keep, budget);
      const bool done = walk.run(query, i, may);
      const int64_t found = std::min(k, walk.found);
      if (!done || (found < k && found < most(i))) {
        kernels::mips_topk(query, 1, items_.data(), size(), d, k, out.rows.data() + i * k, out.values.data() + i * k,
                           out.counts.data() + i, {skip ? may.skip_offsets + i : nullptr, may.skip_rows, may.allowed});
        continue;
      }
      out.counts[static_cast<size_t>(i)] = found;
      for (int64_t at = 0; at < k; ++at) {
        const auto to = static_cast<size_t>(i * k + at);
        out.rows[to] = at < found ? walk.best[at].row : -1;
        out.values[to] = at < found ? walk.best[at].score : -std::numeric_limits<float>::infinity();
      }
    }
  });
}

}  // namespace tt
