#include <doctest/doctest.h>
#include <twotower/models/retrieval/index/exact.h>
#include <twotower/models/retrieval/index/hnsw_graph.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

// Gaussian rows whose lengths differ by e^spread either way.
std::vector<float> rows(int64_t n, int64_t d, uint64_t stream, float spread = 0) {
  std::vector<float> out(static_cast<size_t>(n * d)), lengths(static_cast<size_t>(n));
  Philox(5, stream).fill_normal(out.data(), n * d, 0.0f, 1.0f);
  Philox(6, stream).fill_normal(lengths.data(), n, 0.0f, spread);
  for (int64_t i = 0; i < n * d; ++i) out[static_cast<size_t>(i)] *= std::exp(lengths[static_cast<size_t>(i / d)]);
  return out;
}

std::vector<int64_t> rows_of(const TopItems& top, int64_t q) {
  const auto items = top.items(q);
  return {items.begin(), items.end()};
}

// What share of b's items a has, too.
double share(const TopItems& a, const TopItems& b) {
  int64_t hits = 0, all = 0;
  for (int64_t q = 0; q < b.queries(); ++q) {
    const auto found = rows_of(a, q);
    for (const int64_t row : b.items(q)) hits += std::count(found.begin(), found.end(), row), ++all;
  }
  return static_cast<double>(hits) / static_cast<double>(all);
}

HnswIndex::Parts parts_of(const HnswGraph& graph, int64_t links, int64_t ef) {
  return {ef, links, graph.entry, graph.ground, graph.level_sizes, graph.level_rows, graph.level_ground};
}

constexpr int64_t kItems = 20000, kWidth = 16, kQueries = 40;
HnswOptions quick() { return {.links = 8, .ef_construction = 40, .recall = 0.9}; }

const std::vector<float>& items() {
  static const std::vector<float> all = rows(kItems, kWidth, 1, 0.7f);
  return all;
}
const HnswIndex& index() {
  static const HnswIndex made({items().data(), {kItems, kWidth}}, quick());
  return made;
}
Tensor<const float> queries() {
  static const std::vector<float> all = rows(kQueries, kWidth, 2);
  return {all.data(), {kQueries, kWidth}};
}
const ExactIndex& exact() {
  static const ExactIndex made({items().data(), {kItems, kWidth}});
  return made;
}

}  // namespace

TEST_CASE("hnsw: the best of vectors of very different lengths, with their inner products, the same on any threads") {
  CHECK(index().recall().share >= 0.9);
  CHECK(index().recall().k == 100);
  TopItems found, wanted, again;
  index().search(queries(), 10, found);
  exact().search(queries(), 10, wanted);
  CHECK(share(found, wanted) > 0.95);
  for (int64_t q = 0; q < kQueries; ++q) {
    CHECK(found.counts[static_cast<size_t>(q)] == 10);
    for (size_t i = 0; i < 10; ++i) {
      double product = 0;
      const float* item = items().data() + found.items(q)[i] * kWidth;
      for (int64_t j = 0; j < kWidth; ++j)
        product += static_cast<double>(item[j]) * static_cast<double>(queries().row(q)[j]);
      CHECK(static_cast<double>(found.scores(q)[i]) == doctest::Approx(product).epsilon(1e-4));
      if (i > 0) CHECK(found.scores(q)[i] <= found.scores(q)[i - 1]);
    }
  }
  for (const int threads : {1, 2}) {
    const ThreadScope scope(threads);
    index().search(queries(), 10, again);
    CHECK(again.rows == found.rows);
    CHECK(again.values == found.values);
  }
}

TEST_CASE("hnsw: the same vectors make the same graph, and a wider walk finds more") {
  const Tensor<const float> some(items().data(), {3000, kWidth});
  const HnswGraph one = build_hnsw_graph(some, quick()), two = build_hnsw_graph(some, quick());
  CHECK(one.ground == two.ground);
  CHECK(one.level_ground == two.level_ground);
  TopItems narrow, wide, wanted;
  HnswIndex(index(), 20).search(queries(), 10, narrow);
  HnswIndex(index(), 200).search(queries(), 10, wide);
  exact().search(queries(), 10, wanted);
  CHECK(share(narrow, wanted) < share(wide, wanted));
}

TEST_CASE("hnsw: by inner products without the added coordinate, what a filter leaves is not found") {
  // A hundred clusters; only the shorter half of all rows may be returned, to which links by inner products do not
  // lead.
  const std::vector<float> plain = rows(kItems, kWidth, 9), lengths = rows(kItems, 1, 8);
  std::vector<float> clustered(plain.size());
  const std::vector<float> centres = rows(100, kWidth, 7);
  std::vector<double> length(kItems, 0.0);
  for (int64_t i = 0; i < kItems * kWidth; ++i) {
    const int64_t row = i / kWidth;
    float& x = clustered[static_cast<size_t>(i)];
    x = 0.5f * plain[static_cast<size_t>(i)] + centres[static_cast<size_t>(row % 100 * kWidth + i % kWidth)];
    x *= std::exp(0.3f * lengths[static_cast<size_t>(row)]);
    length[static_cast<size_t>(row)] += static_cast<double>(x) * static_cast<double>(x);
  }
  std::vector<double> sorted = length;
  std::nth_element(sorted.begin(), sorted.begin() + kItems / 2, sorted.end());
  std::vector<uint64_t> allowed((kItems + 63) / 64, 0);
  for (int64_t row = 0; row < kItems; ++row)
    if (length[static_cast<size_t>(row)] < sorted[kItems / 2])
      allowed[static_cast<size_t>(row / 64)] |= uint64_t{1} << (row % 64);
  const Tensor<const float> all(clustered.data(), {kItems, kWidth}), few(centres.data(), {kQueries, kWidth});
  const HnswGraph ours = build_hnsw_graph(all, quick()), raw = build_hnsw_graph(all, quick(), true);
  TopItems right, wrong, wanted;
  HnswIndex(all, parts_of(ours, 8, 20), {}).search(few, 10, right, {.allowed = allowed});
  HnswIndex(all, parts_of(raw, 8, 20), {}).search(few, 10, wrong, {.allowed = allowed});
  ExactIndex(all).search(few, 10, wanted, {.allowed = allowed});
  CHECK(share(right, wanted) > 0.9);
  CHECK(share(right, wanted) > share(wrong, wanted) + 0.1);
}

TEST_CASE("hnsw: filters of any share and rows to leave out, inside the walk; no answer is short") {
  for (const int64_t every : {1, 2, 5, 40, 4000}) {
    CAPTURE(every);
    std::vector<uint64_t> allowed((kItems + 63) / 64, 0);
    for (int64_t row = 3; row < kItems; row += every)
      allowed[static_cast<size_t>(row / 64)] |= uint64_t{1} << (row % 64);
    TopItems best, found, wanted;
    exact().search(queries(), 30, best, {.allowed = allowed});
    SkipRows skip;  // the best ones, and one that the filter does not let pass
    skip.clear();
    for (int64_t q = 0; q < kQueries; ++q) {
      std::vector<int64_t> out = rows_of(best, q);
      if (q % 2 == 0) out.resize(std::min<size_t>(out.size(), 20));
      out.push_back(1);
      std::sort(out.begin(), out.end());
      skip.rows.insert(skip.rows.end(), out.begin(), out.end());
      skip.offsets.push_back(static_cast<int64_t>(skip.rows.size()));
    }
    const RowFilter filter{.skip = &skip, .allowed = allowed};
    index().search(queries(), 30, found, filter);
    exact().search(queries(), 30, wanted, filter);
    CHECK(found.counts == wanted.counts);
    if (wanted.counts[0] > 0) CHECK(share(found, wanted) > 0.85);
    for (int64_t q = 0; q < kQueries; ++q) {
      const std::set<int64_t> out(skip.rows.begin() + skip.offsets[static_cast<size_t>(q)],
                                  skip.rows.begin() + skip.offsets[static_cast<size_t>(q) + 1]);
      for (const int64_t row : found.items(q)) {
        CHECK((allowed[static_cast<size_t>(row / 64)] >> (row % 64) & 1) == 1);
        CHECK(out.count(row) == 0);
      }
      for (size_t i = static_cast<size_t>(found.counts[static_cast<size_t>(q)]); i < 30; ++i)
        CHECK(found.rows[static_cast<size_t>(q) * 30 + i] == -1);
    }
  }
}

TEST_CASE("hnsw: more than there are, one item, none, duplicates and zeros") {
  TopItems found, wanted;
  index().search(queries(), kItems + 5, found);
  exact().search(queries(), kItems + 5, wanted);
  CHECK(found.rows == wanted.rows);
  CHECK(found.counts[0] == kItems);

  const HnswIndex one({items().data(), {1, kWidth}}, quick());
  one.search(queries(), 3, found);
  CHECK(found.counts[0] == 1);
  CHECK(found.rows[0] == 0);
  const HnswIndex none({items().data(), {0, kWidth}}, quick());
  CHECK(error_of([&] { none.search(queries(), 3, found); }) ==
        "[retrieve] the index holds no items; build it from at least one item vector");

  // Islands of one vector: whatever a walk does not reach, no answer is short, and nothing comes twice.
  std::vector<float> same = items();
  std::fill_n(same.begin(), 6000 * kWidth, 0.0f);
  for (int64_t row = 6000; row < 12000; ++row)
    std::copy_n(same.data() + 12000 * kWidth, kWidth, same.data() + row * kWidth);
  const HnswIndex islands({same.data(), {kItems, kWidth}}, quick());
  islands.search(queries(), 200, found);
  for (int64_t q = 0; q < kQueries; ++q) {
    std::vector<int64_t> sorted = rows_of(found, q);
    CHECK(sorted.size() == 200);
    std::sort(sorted.begin(), sorted.end());
    CHECK(std::unique(sorted.begin(), sorted.end()) == sorted.end());
    for (size_t i = 1; i < 200; ++i)
      if (found.scores(q)[i] == found.scores(q)[i - 1]) CHECK(found.items(q)[i] > found.items(q)[i - 1]);
  }
}

TEST_CASE("hnsw: queries that are no numbers find nothing, endless ones what a scan finds") {
  std::vector<float> odd(queries().begin(), queries().begin() + 3 * kWidth);
  odd[4] = std::numeric_limits<float>::quiet_NaN();
  odd[kWidth] = std::numeric_limits<float>::infinity();
  TopItems found, wanted;
  index().search({odd.data(), {3, kWidth}}, 10, found);
  exact().search({odd.data(), {3, kWidth}}, 10, wanted);
  CHECK(found.counts == std::vector<int64_t>{0, 10, 10});
  CHECK(rows_of(found, 1) == rows_of(wanted, 1));
}

TEST_CASE("hnsw: damaged graphs answer from what they are, or are refused") {
  const HnswIndex::Parts& parts = index().parts();
  const Tensor<const float> all(items().data(), {kItems, kWidth});
  std::vector<int32_t> ground(parts.ground.begin(), parts.ground.end());
  std::vector<int32_t> levels(parts.level_ground.begin(), parts.level_ground.end());
  const Philox random(3, 1);
  for (uint64_t i = 0; i < 20000; ++i) {
    ground[random.below(3 * i, ground.size())] = static_cast<int32_t>(random.below(3 * i + 1, uint64_t{1} << 32));
    if (i < levels.size()) levels[random.below(3 * i + 2, levels.size())] = static_cast<int32_t>(i) - 100;
  }
  HnswIndex::Parts damaged = parts;
  damaged.ground = ground, damaged.level_ground = levels;
  TopItems found;
  HnswIndex(all, damaged, {}).search(queries(), 10, found);
  CHECK(*std::min_element(found.counts.begin(), found.counts.end()) == 10);
  std::fill(ground.begin(), ground.end(), -1);  // no way leads anywhere
  HnswIndex(all, damaged, {}).search(queries(), 10, found);
  CHECK(*std::min_element(found.counts.begin(), found.counts.end()) == 10);

  const auto refused = [&](auto change) {
    HnswIndex::Parts other = parts;
    change(other);
    return error_of([&] { HnswIndex(all, other, {}); });
  };
  CHECK(refused([&](auto& p) { p.ground = p.ground.first(100); }) ==
        "[hnsw] the graph has 100 links, 20000 items have 320000; build it anew");
  CHECK(refused([&](auto& p) { p.links = 1; }) ==
        "[hnsw] no graph has 1 links a row and ef = " + std::to_string(index().ef()) + "; build it anew");
  CHECK(refused([&](auto& p) { p.level_rows = p.level_rows.first(5); }) ==
        "[hnsw] the graph's upper levels do not fit each other; build it anew");
  std::vector<int64_t> sizes(parts.level_sizes.begin(), parts.level_sizes.end());
  sizes[0] = std::numeric_limits<int64_t>::max();
  CHECK(refused([&](auto& p) { p.level_sizes = sizes; }) ==
        "[hnsw] the graph's upper levels do not fit each other; build it anew");
  CHECK(refused([&](auto& p) { p.entry = kItems; }) ==
        "[hnsw] the graph is entered at row 20000, there are 20000; build it anew");
  std::vector<int32_t> odd(parts.level_rows.begin(), parts.level_rows.end());
  odd[1] = odd[0];
  CHECK(refused([&](auto& p) { p.level_rows = odd; }) ==
        "[hnsw] the rows of the graph's upper levels are not ascending; build it anew");
}

TEST_CASE("hnsw: options and vectors that cannot be") {
  const Tensor<const float> few(items().data(), {10, kWidth});
  CHECK(error_of([&] { HnswIndex(few, HnswOptions{.links = 1}); }) ==
        "[hnsw] a row cannot have 1 links; give 2 to 256");
  CHECK(error_of([&] { HnswIndex(few, HnswOptions{.ef_construction = 0}); }) ==
        "[hnsw] ef_construction = 0; give at least 1");
  CHECK(error_of([&] { HnswIndex(few, HnswOptions{.recall = 1.5}); }) ==
        "[hnsw] a recall of 1.5 cannot be reached; give one in (0, 1]");
  std::vector<float> odd(items().begin(), items().begin() + 10 * kWidth);
  odd[3 * kWidth + 1] = std::numeric_limits<float>::infinity();
  CHECK(error_of([&] {
          HnswIndex(Tensor<const float>(odd.data(), {10, kWidth}), quick());
        }) == "[hnsw] the vector of item row 3 is not finite; search it with the index \"exact\"");
}
