// The int8 and fp16 indexes: exact answers, recall measured when built, and what is stored of them.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/index/exact.h>
#include <twotower/models/retrieval/index/quantised.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/random.h>

#include <cmath>

using namespace tt;

namespace {

Tensor<float> normal(Pool& pool, int64_t n, int64_t d, uint64_t stream) {
  const Tensor<float> x = make_tensor<float>(pool, {n, d});
  Philox(5, stream).fill_normal(x.data(), x.numel(), 0.0f, 1.0f);
  return x;
}

void check_same(const Index& index, const Index& exact, Tensor<const float> queries, int64_t k,
                const RowFilter& filter = {}) {
  TopItems found, wanted;
  index.search(queries, k, found, filter);
  exact.search(queries, k, wanted, filter);
  CHECK(found.rows == wanted.rows);
  CHECK(found.values == wanted.values);
  CHECK(found.counts == wanted.counts);
}

}  // namespace

TEST_CASE("quantised index: what the exact index returns, with filters and without") {
  Pool pool;
  const Tensor<float> items = normal(pool, 3000, 24, 1), queries = normal(pool, 40, 24, 2);
  const ExactIndex exact(items);
  for (const RowFormat format : {RowFormat::int8, RowFormat::fp16}) {
    const QuantisedIndex index(items, format);
    CHECK(index.kind() == (format == RowFormat::int8 ? "int8" : "fp16"));
    CHECK(index.size() == 3000);
    CHECK(index.width() == 24);
    check_same(index, exact, queries, 50);
    check_same(index, exact, {queries.data(), {1, 24}}, 4000);
    SkipRows skip;
    skip.offsets.assign(1, 0);
    for (int64_t q = 0; q < 40; ++q) {
      for (int64_t r = q; r < 3000; r += 2 + q) skip.rows.push_back(r);
      skip.offsets.push_back(static_cast<int64_t>(skip.rows.size()));
    }
    std::vector<uint64_t> allowed(47, 0x00f3000070000001u);
    check_same(index, exact, queries, 50, {.skip = &skip, .allowed = allowed});
  }
}

TEST_CASE("quantised index: it measures its recall when built, of as many as there are") {
  Pool pool;
  const Tensor<float> items = normal(pool, 500, 8, 3);
  const Recall recall = QuantisedIndex(items, RowFormat::int8).recall();
  CHECK(recall.share == 1.0);
  CHECK(recall.queries == 64);
  CHECK(recall.k == 100);
  const Recall of_few = QuantisedIndex({items.data(), {3, 8}}, RowFormat::fp16).recall();
  CHECK(of_few.queries == 3);
  CHECK(of_few.k == 3);
  CHECK(ExactIndex(items).recall().queries == 0);
}

TEST_CASE("quantised index: an index of other items is measured for what it is") {
  Pool pool;
  const Tensor<float> items = normal(pool, 500, 8, 3), others = normal(pool, 500, 8, 4);
  CHECK(measure_recall(ExactIndex(others), items).share < 0.4);
  for (int64_t i = 0; i < items.numel(); ++i) items[i] = std::nanf("");
  CHECK(measure_recall(ExactIndex(items), items).share == 1.0);  // nothing is to be found
}

TEST_CASE("quantised index: stored parts make the same index, and others are refused") {
  Pool pool;
  const Tensor<float> items = normal(pool, 100, 10, 5), queries = normal(pool, 7, 10, 6);
  items.row(40)[3] = HUGE_VALF;  // a row that no scale fits
  for (const RowFormat format : {RowFormat::int8, RowFormat::fp16}) {
    const QuantisedIndex built(items, format);
    const QuantisedIndex::Parts parts = built.parts();
    CHECK(parts.blocks.size() == (format == RowFormat::int8 ? 128 * 12 : 128 * 20));
    CHECK(parts.scales.size() == 128);
    const QuantisedIndex opened(items, format, parts, built.recall());
    CHECK(opened.parts().blocks.data() == parts.blocks.data());
    CHECK(opened.recall().k == built.recall().k);
    check_same(opened, ExactIndex(items), queries, 20);

    QuantisedIndex::Parts cut = parts;
    cut.scales = parts.scales.first(100);
    CHECK_THROWS_WITH_AS(QuantisedIndex(items, format, cut, {}),
                         doctest::Contains("100 scales and 3 bounds does not fit 100 items of 10 dimensions"), Error);
    cut = parts, cut.blocks = parts.blocks.first(77);
    CHECK_THROWS_WITH_AS(QuantisedIndex(items, format, cut, {}), doctest::Contains("of 77 bytes"), Error);
    const float bounds[] = {1.0f, std::nanf(""), 1.0f};
    cut = parts, cut.bounds = bounds;
    CHECK_THROWS_WITH_AS(QuantisedIndex(items, format, cut, {}), doctest::Contains("build it again"), Error);
  }
}

TEST_CASE("quantised index: what cannot be searched is refused as by any index") {
  Pool pool;
  const Tensor<float> items = normal(pool, 10, 4, 7), queries = normal(pool, 2, 4, 8);
  const QuantisedIndex index(items, RowFormat::int8);
  TopItems found;
  CHECK_THROWS_WITH_AS(index.search(queries, 0, found), doctest::Contains("k = 0; ask for at least 1 item"), Error);
  CHECK_THROWS_WITH_AS(index.search({queries.data(), {4, 2}}, 1, found),
                       doctest::Contains("queries have 2 dimensions, items 4"), Error);
  const std::vector<uint64_t> words(2, ~uint64_t{0});
  CHECK_THROWS_WITH_AS(index.search(queries, 1, found, {.allowed = words}),
                       doctest::Contains("the filter has 2 words for 10 items"), Error);
  const QuantisedIndex none(Tensor<const float>{}, RowFormat::int8);
  CHECK(none.size() == 0);
  CHECK_THROWS_WITH_AS(none.search(queries, 1, found), doctest::Contains("the index holds no items"), Error);
  index.search(Tensor<const float>{}, 3, found);
  CHECK(found.queries() == 0);
}
