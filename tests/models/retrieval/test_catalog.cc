// A catalog's states: whatever was added, replaced, removed and switched, a search gives what sorting a plain list of
// the items gives.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/filter.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "tests/models/bundle_fixtures.h"

using namespace tt;

namespace {

constexpr int64_t kBase = 130, kWidth = 4;

struct PlainItem {
  std::vector<float> vector;
  int64_t row = 0;
  std::string genre;  // "" for none
  bool offered = true;
};
using PlainItems = std::map<std::string, PlainItem>;

struct Found {
  std::string id;
  float score;
  bool operator==(const Found& other) const { return id == other.id && score == other.score; }
};

// What is asked of a search.
struct Query {
  std::vector<float> vector;
  std::set<std::string> leave_out;
};

std::vector<Found> plain_search(const PlainItems& items, const Query& query, int64_t k, const Conditions& conditions) {
  std::vector<std::pair<float, int64_t>> order;  // (-score, row)
  std::map<int64_t, std::string> ids;
  const auto listed = [](const std::vector<std::string>& list, const std::string& text) {
    return std::find(list.begin(), list.end(), text) != list.end();
  };
  for (const auto& [id, item] : items) {
    bool passes = item.offered && query.leave_out.count(id) == 0 && !listed(conditions.without, id) &&
                  (!conditions.only || listed(*conditions.only, id));
    for (const auto& value : conditions.where) passes = passes && listed(value.any_of, item.genre);
    if (!passes) continue;
    order.emplace_back(-std::inner_product(query.vector.begin(), query.vector.end(), item.vector.begin(), 0.0f),
                       item.row);
    ids[item.row] = id;
  }
  std::sort(order.begin(), order.end());
  std::vector<Found> out;
  for (const auto& [score, row] : order)
    if (static_cast<int64_t>(out.size()) < k) out.push_back({ids[row], -score});
  return out;
}

// Draws of one seed. Vectors of small whole numbers: their products are exact, and ties are many.
struct Draws {
  explicit Draws(uint64_t seed) : random(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(random.below(at++, static_cast<uint64_t>(n))); }
  std::vector<float> vector() {
    std::vector<float> out;
    for (int64_t d = 0; d < kWidth; ++d) out.push_back(static_cast<float>(below(5) - 2));
    return out;
  }
  Philox random;
  uint64_t at = 0;
};

// The hand-made bundle with vectors of small whole numbers.
struct Base {
  Base() : made(config(), 12, kBase) {
    Draws draws(5);
    for (int64_t i = 0; i < kBase; ++i)
      for (const float x : draws.vector()) vectors.push_back(x);
    made.write(folder);
    made.content.items.vectors = {vectors.data(), {kBase, kWidth}};
    write_bundle(folder.path() + "/whole", made.content);
    bundle = Bundle::open(folder.path() + "/whole");
  }
  static ModelConfig config() {
    ModelConfig config = testing::rung_config("base");
    config.user_id_hash_size = 12, config.item_id_hash_size = kBase;
    return config;
  }
  PlainItems plain() const {
    PlainItems items;
    for (int64_t i = 0; i < kBase; ++i)
      items["i" + std::to_string(i)] = {
          {vectors.begin() + i * kWidth, vectors.begin() + (i + 1) * kWidth}, i, i % 2 == 0 ? "a" : "b", true};
    return items;
  }
  TempFolder folder;
  testing::HandMade made;
  std::vector<float> vectors;
  Bundle bundle;
};

std::vector<std::vector<Found>> search(const Catalog& catalog, const std::vector<Query>& queries, int64_t k,
                                       const Filter* filter, CatalogScratch& scratch) {
  std::vector<float> vectors;
  SkipRows skip;
  skip.clear();
  for (const Query& query : queries) {
    vectors.insert(vectors.end(), query.vector.begin(), query.vector.end());
    std::vector<int64_t> rows;
    for (const std::string& id : query.leave_out)
      if (const auto row = catalog.find(id)) {
        rows.push_back(*row);
        // A row of the bundle's means the item also where it was replaced.
        if (const auto old = catalog.base().ids().find(id)) rows.back() = *old;
      }
    std::sort(rows.begin(), rows.end());
    skip.rows.insert(skip.rows.end(), rows.begin(), rows.end());
    skip.offsets.push_back(static_cast<int64_t>(skip.rows.size()));
  }
  TopItems top;
  catalog.search({vectors.data(), {static_cast<int64_t>(queries.size()), kWidth}}, k, top, scratch, filter, &skip);
  std::vector<std::vector<Found>> out;
  for (int64_t q = 0; q < top.queries(); ++q) {
    out.emplace_back();
    for (size_t r = 0; r < top.items(q).size(); ++r)
      out.back().push_back({std::string(catalog.id(top.items(q)[r])), top.scores(q)[r]});
  }
  return out;
}

void compare(const Catalog& catalog, const PlainItems& plain, const Conditions* conditions, const Filter* filter,
             Draws& draws, CatalogScratch& scratch) {
  std::vector<Query> queries(draws.below(2) == 0 ? 1 : 6);  // both ways through the scan
  for (Query& query : queries) {
    query.vector = draws.vector();
    for (const auto& [id, item] : plain)
      if (draws.below(10) == 0) query.leave_out.insert(id);
  }
  const int64_t k = std::vector<int64_t>{1, 7, 100000}[static_cast<size_t>(draws.below(3))];
  const auto found = search(catalog, queries, k, filter, scratch);
  REQUIRE(found.size() == queries.size());
  for (size_t q = 0; q < queries.size(); ++q)
    CHECK(found[q] == plain_search(plain, queries[q], k, conditions ? *conditions : Conditions()));
}

std::vector<std::string_view> views(const std::vector<std::string>& ids) { return {ids.begin(), ids.end()}; }

}  // namespace

TEST_CASE("catalog: after any changes a search gives what sorting a plain list gives") {
  const Base base;
  const std::vector<Conditions> conditions = {
      {.where = {{"genre", {"b"}}}},
      {.where = {{"genre", {"a", "ö"}}}, .without = {"i2", "n3", "i8"}},
      {.only = {{"i0", "i1", "i7", "i129", "n0", "n1", "n2", "n5", "n8", "nobody"}}},
      {.where = {{"genre", {"b"}}}, .only = {{"i1", "i2", "i3", "n1", "n2", "n3", "n4"}}, .without = {"i3"}}};
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    Draws draws(seed);
    Catalog catalog(base.bundle);
    PlainItems plain = base.plain();
    std::vector<Filter> filters;  // made once, for all states
    for (const Conditions& c : conditions) filters.emplace_back(catalog, c);
    CatalogScratch scratch;
    std::vector<std::pair<Catalog, PlainItems>> before;
    int64_t rows = kBase;
    for (int step = 0; step < 120; ++step) {
      // Some ids that are there, and for adding some that are not.
      std::vector<std::string> there, fresh;
      const int64_t n = 1 + (draws.below(8) == 0 ? draws.below(60) : draws.below(4));
      for (int64_t i = 0; i < n; ++i) {
        const std::string id =
            draws.below(3) == 0 ? "i" + std::to_string(draws.below(kBase)) : "n" + std::to_string(draws.below(80));
        auto& list = plain.count(id) != 0 ? there : fresh;
        if (std::find(list.begin(), list.end(), id) == list.end()) list.push_back(id);
      }
      const int64_t what = draws.below(6);
      const uint64_t version = catalog.version();
      if (what <= 2) {
        const std::vector<std::string>& ids = what < 2 ? fresh : there;
        std::vector<float> vectors;
        ItemBatch batch{views(ids), {}, {{}, std::vector<std::vector<int32_t>>(ids.size())}, {}};
        for (const std::string& id : ids) {
          const std::vector<float> v = draws.vector();
          vectors.insert(vectors.end(), v.begin(), v.end());
          const auto genre = static_cast<size_t>(draws.below(4));
          batch.codes[0].push_back(genre < 3 ? std::vector<int32_t>{static_cast<int32_t>(genre)}
                                             : std::vector<int32_t>());
          const bool offered = what < 2 || plain[id].offered;
          plain[id] = {v, rows++, std::vector<std::string>{"b", "a", "ö", ""}[genre], offered};
        }
        batch.vectors = vectors;
        catalog = catalog.with(batch, what < 2 ? Arrival::add : Arrival::replace);
        CHECK(catalog.version() == version + (ids.empty() ? 0 : 1));
      } else if (what == 3) {
        catalog = catalog.without(views(there));
        for (const std::string& id : there) plain.erase(id);
      } else {
        const bool on = draws.below(2) == 0;
        catalog = catalog.with_available(views(there), on);
        for (const std::string& id : there) plain[id].offered = on;
      }
      CHECK(catalog.rows() == rows);
      CHECK(catalog.size() == static_cast<int64_t>(plain.size()));
      CHECK(catalog.on_offer() ==
            std::count_if(plain.begin(), plain.end(), [](const auto& i) { return i.second.offered; }));
      CHECK(catalog.segments().size() <= 5);
      compare(catalog, plain, nullptr, nullptr, draws, scratch);
      const auto which = static_cast<size_t>(draws.below(4));
      compare(catalog, plain, &conditions[which], &filters[which], draws, scratch);
      if (step % 30 == 10) before.emplace_back(catalog, plain);
    }
    for (const auto& [id, item] : plain) {
      CHECK(catalog.find(id) == item.row);
      CHECK(catalog.id(item.row) == id);
      CHECK(catalog.available(item.row) == item.offered);
      CHECK(std::equal(item.vector.begin(), item.vector.end(), catalog.vector(item.row)));
      // What training has met: all of the bundle but the last.
      const auto of_base = id[0] == 'i' && id != "i129" ? std::stoll(id.substr(1)) : -1;
      CHECK(catalog.learnt_row(item.row) == of_base);
    }
    // The states of before are what they were.
    for (const auto& [old, items] : before) {
      for (int i = 0; i < 3; ++i) compare(old, items, nullptr, nullptr, draws, scratch);
      compare(old, items, &conditions[0], &filters[0], draws, scratch);
    }
  }
}

TEST_CASE("catalog: segments stay few, whether items come one by one, are replaced again and again, or go") {
  const Base base;
  Catalog catalog(base.bundle);
  const std::vector<float> one(kWidth, 1), many(kWidth * 64, 2);
  size_t most = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = "n" + std::to_string(i);
    catalog = catalog.with({{id}, one, {}, {}}, Arrival::add);
    most = std::max(most, catalog.segments().size());
  }
  CHECK(most <= 6);
  CHECK(catalog.size() == kBase + 1000);
  for (int i = 0; i < 500; ++i)
    catalog = catalog.with({{"n7", "i3"}, std::span(many).first(2 * kWidth), {}, {}}, Arrival::replace);
  int64_t held = 0;
  for (const LivePart& segment : catalog.segments()) held += segment.part->size();
  CHECK(held <= 2 * 1001);  // what was replaced does not stay
  std::vector<std::string> gone;
  for (int i = 0; i < 1000; ++i) gone.push_back("n" + std::to_string(i));
  catalog = catalog.without(views(gone));
  held = 0;
  for (const LivePart& segment : catalog.segments()) held += segment.part->size();
  CHECK(held <= 2);
  CHECK(catalog.size() == kBase);
  CHECK(catalog.rows() == kBase + 2000);
  CHECK_FALSE(catalog.contains(3));
  CHECK(catalog.contains(*catalog.find("i3")));
  CHECK(catalog.learnt_row(*catalog.find("i3")) == 3);
  CHECK(catalog.id(3) == "i3");
  CHECK(error_of([&] { (void)catalog.id(kBase); }) ==
        "[catalog] the item of row 130 was removed or replaced; look rows up in the catalog that found them");
  CHECK(error_of([&] { (void)catalog.vector(kBase + 2000); }) == "[catalog] there is no item row 2130, there are 2130");
}

TEST_CASE("catalog: a change that cannot be made changes nothing") {
  const Base base;
  const Catalog catalog(base.bundle);
  const std::vector<float> two = {1, 2, 3, 4, 1, 2, 3, 4};
  const auto with = [&](std::vector<std::string_view> ids, Arrival how, std::span<const float> vectors) {
    return error_of([&] { (void)catalog.with({std::move(ids), vectors, {}, {}}, how); });
  };
  CHECK(with({"n1", "i5"}, Arrival::add, two) == "[catalog] item \"i5\" is there already; replace it, or leave it out");
  CHECK(with({"i1", "n5"}, Arrival::replace, two) == "[catalog] there is no item \"n5\" to replace; add it");
  CHECK(with({"n1", "n1"}, Arrival::add, two) == "[catalog] item \"n1\" is given twice; give each once");
  CHECK(with({"n1", ""}, Arrival::add, two) == "[catalog] an item's id is empty; every item needs one");
  CHECK(with({"n1"}, Arrival::add, two) ==
        "[catalog] the vectors of 1 items hold 8 numbers, the catalog's are of width 4");
  const std::vector<float> nan = {1, 2, std::nanf(""), 4};
  CHECK(with({"n1"}, Arrival::add, nan) ==
        "[catalog] the vector of item \"n1\" is not finite; look at the item's features");
  const std::vector<std::string_view> some = {"i1", "n5"};
  CHECK(error_of([&] { (void)catalog.without(some); }) ==
        "[catalog] there is no item \"n5\" to remove; it may be gone already");
  CHECK(error_of([&] { (void)catalog.with_available(some, false); }) ==
        "[catalog] there is no item \"n5\" to switch on or off; add it first");
  CHECK(catalog.version() == 0);
  CHECK(catalog.on_offer() == kBase);

  // Nothing is left: no item is returned, and nothing that looks like one.
  std::vector<std::string> all;
  for (int64_t i = 0; i < kBase; ++i) all.push_back("i" + std::to_string(i));
  const Catalog empty = catalog.without(views(all));
  CatalogScratch scratch;
  TopItems top;
  empty.search({two.data(), {2, kWidth}}, 5, top, scratch);
  CHECK(top.counts == std::vector<int64_t>{0, 0});
  CHECK(top.rows == std::vector<int64_t>{-1, -1});
  CHECK(error_of([&] {
          empty.search({two.data(), {2, kWidth}}, 0, top, scratch);
        }) == "[retrieve] k = 0; ask for at least 1 item");
  CHECK(error_of([&] {
          empty.search({two.data(), {4, 2}}, 1, top, scratch);
        }) == "[retrieve] queries have 2 dimensions, items 4; use vectors of one model");
}
