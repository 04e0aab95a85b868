#include <doctest/doctest.h>
#include <twotower/models/retrieval/index/exact.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

// The rows of the k highest inner products by sorting all of them: higher first, ties by smaller row.
std::vector<int64_t> plain_top(const float* query, const std::vector<float>& items, int64_t d, int64_t k,
                               std::vector<int64_t> skip = {}) {
  const auto c = static_cast<int64_t>(items.size()) / d;
  std::vector<double> score;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < c; ++i) {
    score.push_back(std::inner_product(query, query + d, items.data() + i * d, 0.0));
    if (std::find(skip.begin(), skip.end(), i) == skip.end()) rows.push_back(i);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [&](int64_t a, int64_t b) { return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)]; });
  rows.resize(std::min(rows.size(), static_cast<size_t>(k)));
  return rows;
}

// Small whole numbers: their products are exact, so that ties are ties in any order of summation.
std::vector<float> small_numbers(int64_t n, uint64_t stream) {
  const Philox random(7, stream);
  std::vector<float> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(static_cast<float>(random.below(static_cast<uint64_t>(i), 5)) - 2);
  return out;
}

std::vector<int64_t> rows_of(const TopItems& top, int64_t q) {
  const auto items = top.items(q);
  return {items.begin(), items.end()};
}

}  // namespace

TEST_CASE("exact: the same rows as sorting everything, ties by smaller row, for any number of threads") {
  struct Case {
    int64_t queries, items, d, k;
  };
  for (const Case& c : {Case{1, 1000, 8, 10}, Case{37, 533, 3, 20}, Case{300, 97, 16, 97}}) {
    const int64_t queries = c.queries, items = c.items, d = c.d, k = c.k;
    CAPTURE(items);
    const std::vector<float> q = small_numbers(queries * d, 1), v = small_numbers(items * d, 2);
    const ExactIndex index(Tensor<const float>(v.data(), {items, d}));
    TopItems top;
    for (const int threads : {1, 2}) {
      set_num_threads(threads);
      index.search({q.data(), {queries, d}}, k, top);
      for (int64_t i = 0; i < queries; ++i) CHECK(rows_of(top, i) == plain_top(q.data() + i * d, v, d, k));
    }
    CHECK(top.queries() == queries);
    CHECK(std::is_sorted(top.scores(0).rbegin(), top.scores(0).rend()));
  }
}

TEST_CASE("exact: items to leave out never come back, and what is left may be fewer than K") {
  const std::vector<float> q = small_numbers(3 * 4, 3), v = small_numbers(20 * 4, 4);
  const ExactIndex index(Tensor<const float>(v.data(), {20, 4}));
  SkipRows skip;
  skip.clear();
  std::vector<std::vector<int64_t>> lists = {{}, {0, 3, 19}, {}};
  for (int64_t i = 0; i < 18; ++i) lists[2].push_back(i);
  for (const auto& list : lists) {
    skip.rows.insert(skip.rows.end(), list.begin(), list.end());
    skip.offsets.push_back(static_cast<int64_t>(skip.rows.size()));
  }
  TopItems top;
  index.search({q.data(), {3, 4}}, 30, top, {.skip = &skip});  // K larger than the corpus, too
  CHECK(top.counts == std::vector<int64_t>{20, 17, 2});
  for (int64_t i = 0; i < 3; ++i)
    CHECK(rows_of(top, i) == plain_top(q.data() + i * 4, v, 4, 30, lists[static_cast<size_t>(i)]));
  CHECK(top.rows[2 * 30 + 2] == -1);  // beyond the count there is nothing that looks like an item
}

TEST_CASE("exact: only rows that the filter allows come back, on the path of few queries and on that of many") {
  constexpr int64_t kItems = 300, kWidth = 4;
  const std::vector<float> v = small_numbers(kItems * kWidth, 6);
  const ExactIndex index(Tensor<const float>(v.data(), {kItems, kWidth}));
  std::vector<uint64_t> allowed((kItems + 63) / 64, 0);
  std::vector<int64_t> others;
  for (int64_t row = 0; row < kItems; ++row)
    if (row % 7 == 3)
      allowed[static_cast<size_t>(row / 64)] |= uint64_t{1} << (row % 64);
    else
      others.push_back(row);
  for (const int64_t queries : {1, 3, 70}) {
    const std::vector<float> q = small_numbers(queries * kWidth, 7);
    TopItems top;
    index.search({q.data(), {queries, kWidth}}, 50, top, {.allowed = allowed});
    for (int64_t i = 0; i < queries; ++i)
      CHECK(rows_of(top, i) == plain_top(q.data() + i * kWidth, v, kWidth, 50, others));
    CHECK(top.counts[0] == 43);
  }
  TopItems top;
  CHECK(error_of([&] {
          index.search({v.data(), {1, kWidth}}, 1, top, {.allowed = std::span(allowed).first(4)});
        }) == "[retrieve] the filter has 4 words for 300 items; it must have a bit an item");
}

TEST_CASE("exact: dense and thin stretches of a filter, for few and many queries, on any number of threads") {
  constexpr int64_t kItems = 2117, kWidth = 5, kBest = 40;
  const std::vector<float> v = small_numbers(kItems * kWidth, 8);
  const ExactIndex index(Tensor<const float>(v.data(), {kItems, kWidth}));
  std::vector<uint64_t> allowed((kItems + 63) / 64, 0);
  std::vector<int64_t> others;
  for (int64_t row = 0; row < kItems; ++row)  // all, none, one in 9, two in 3, by stretches of 150 rows
    if (const int64_t kind = row / 150 % 4; kind == 0 || (kind == 2 && row % 9 == 0) || (kind == 3 && row % 3 != 0))
      allowed[static_cast<size_t>(row / 64)] |= uint64_t{1} << (row % 64);
    else
      others.push_back(row);
  for (const int64_t queries : {1, 5, 20, 90}) {
    const std::vector<float> q = small_numbers(queries * kWidth, 9);
    TopItems top;
    for (const int threads : {1, 2}) {
      set_num_threads(threads);
      index.search({q.data(), {queries, kWidth}}, kBest, top, {.allowed = allowed});
      for (int64_t i = 0; i < queries; ++i)
        CHECK(rows_of(top, i) == plain_top(q.data() + i * kWidth, v, kWidth, kBest, others));
    }
  }
}

TEST_CASE("exact: NaN never comes back, infinities do, and equal scores come by smaller row") {
  constexpr int64_t kItems = 500;
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> v(kItems, 0.0f);
  for (int64_t i = 0; i < kItems; i += 2) v[static_cast<size_t>(i)] = -0.0f;  // ties with 0
  v[7] = std::numeric_limits<float>::quiet_NaN(), v[300] = inf, v[400] = inf, v[20] = -inf;
  const ExactIndex index(Tensor<const float>(v.data(), {kItems, 1}));
  for (const int64_t queries : {1, 5, 40}) {
    const std::vector<float> q(static_cast<size_t>(queries), 1.0f);
    TopItems top;
    index.search({q.data(), {queries, 1}}, 8, top);
    CHECK(rows_of(top, queries - 1) == std::vector<int64_t>{300, 400, 0, 1, 2, 3, 4, 5});
    index.search({q.data(), {queries, 1}}, 1, top);
    CHECK(rows_of(top, 0) == std::vector<int64_t>{300});
    index.search({q.data(), {queries, 1}}, kItems, top);
    CHECK(top.counts[0] == kItems - 1);
    CHECK(top.items(0).back() == 20);
  }
}

TEST_CASE("exact: what cannot be searched is refused") {
  const std::vector<float> numbers(12, 1);
  const ExactIndex index(Tensor<const float>(numbers.data(), {3, 4}));
  TopItems top;
  CHECK(error_of([&] {
          index.search({numbers.data(), {3, 4}}, 0, top);
        }) == "[retrieve] k = 0; ask for at least 1 item");
  CHECK(error_of([&] {
          index.search({numbers.data(), {4, 3}}, 1, top);
        }) == "[retrieve] queries have 3 dimensions, items 4; use vectors of one model");
  CHECK(error_of([&] {
          ExactIndex().search({numbers.data(), {4, 3}}, 1, top);
        }) == "[retrieve] the index holds no items; build it from at least one item vector");
  SkipRows skip;
  skip.clear();
  CHECK(error_of([&] {
          index.search({numbers.data(), {3, 4}}, 1, top, {.skip = &skip});
        }) == "[retrieve] there are 3 queries but 0 lists of items to leave out; give one a query");
  index.search({}, 5, top);
  CHECK(top.queries() == 0);
}
