// Quantised search returns what exact search returns, bit for bit; its scan finds what plain loops over the kept
// numbers find.

#include <twotower/tensor/kernels/quantised/coarse_queries.h>
#include <twotower/tensor/kernels/quantised/quantised.h>
#include <twotower/tensor/kernels/topk/topk.h>

#include <algorithm>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

namespace {

// Items as quantise_rows keeps them.
struct Kept {
  Kept(const Floats& items, int64_t c, int64_t d, RowFormat format)
      : blocks(static_cast<std::size_t>(blocks_of(c)) * block_bytes(format, d)),
        scales(static_cast<std::size_t>(blocks_of(c) * kBlockRows)) {
    rows = {format, c, d, blocks.data(), scales.data(), {}, nullptr, 0};
    rows.bounds = quantise_rows(items.data(), c, d, format, blocks.data(), scales.data());
    for (int64_t r = 0; r < c; ++r)
      if (std::isnan(scales[static_cast<std::size_t>(r)])) exceptions.push_back(r);
    rows.exceptions = exceptions.data(), rows.exception_count = static_cast<int64_t>(exceptions.size());
  }
  std::vector<std::byte> blocks;
  std::vector<float> scales;
  std::vector<int64_t> exceptions;
  QuantisedRows rows;
};

// Both searches of the same; false where anything differs. Returns all that was found, as numbers.
Floats same_as_exact(const Floats& queries, int64_t q, const Floats& items, int64_t c, int64_t d, int64_t k,
                     RowFormat format, const RowsToSearch& filter = {}) {
  const Kept kept(items, c, d, format);
  std::vector<int64_t> rows(static_cast<std::size_t>(q * k)), wanted_rows(rows);
  std::vector<int64_t> counts(static_cast<std::size_t>(q)), wanted_counts(counts);
  Floats scores(q * k), wanted(q * k), all(2 * q * k);
  mips_topk(queries.data(), q, items.data(), c, d, k, wanted_rows.data(), wanted.data(), wanted_counts.data(), filter);
  quantised_topk(queries.data(), q, items.data(), kept.rows, k, rows.data(), scores.data(), counts.data(), filter);
  CAPTURE(q);
  CAPTURE(c);
  CAPTURE(d);
  CAPTURE(k);
  CAPTURE(format == RowFormat::int8);
  CHECK(counts == wanted_counts);
  CHECK(rows == wanted_rows);
  CHECK(same_bits(scores, wanted));
  for (int64_t i = 0; i < q * k; ++i)
    all[2 * i] = scores[i], all[2 * i + 1] = static_cast<float>(rows[static_cast<std::size_t>(i)]);
  return all;
}

constexpr RowFormat kFormats[] = {RowFormat::int8, RowFormat::fp16};

}  // namespace

TEST_CASE("quantised: the same rows and scores as exact search, for every width and batch size") {
  for (const RowFormat format : kFormats)
    for (const int64_t d : {1, 3, 17, 63, 64, 65, 130})
      for (const int64_t q : {1, 2, 5, 8, 17, 70})
        on_every_isa([&] { return same_as_exact(uniform(q * d, 1), q, uniform(2500 * d, 2), 2500, d, 20, format); });
}

TEST_CASE("quantised: few rows, more asked than there are, none at all") {
  for (const RowFormat format : kFormats)
    for (const int64_t c : {0, 1, 31, 32, 33, 300})
      for (const int64_t k : {1, 100, 500})
        on_every_isa([&] { return same_as_exact(uniform(40 * 9, 3), 40, uniform(c * 9, 4), c, 9, k, format); });
}

TEST_CASE("quantised: ties, duplicates and zero rows, where every row is a candidate") {
  for (const RowFormat format : kFormats)
    for (const int64_t different : {1, 2, 7, 400})
      for (const int64_t q : {1, 6, 40})
        on_every_isa([&] {
          const int64_t d = 12, c = 3000;
          const Floats few = uniform(different * d, 5);
          Floats items(c * d);
          for (int64_t r = 0; r < c; ++r)
            for (int64_t j = 0; j < d; ++j) items[r * d + j] = r % 11 == 3 ? 0.0f : few[r % different * d + j];
          return same_as_exact(uniform(q * d, 6), q, items, c, d, 50, format);
        });
}

TEST_CASE("quantised: lengths from subnormal to enormous, in one corpus and alone") {
  for (const RowFormat format : kFormats)
    for (const float scale : {1e-42f, 1e-30f, 1.0f, 1e15f, 1e30f, 1e36f, 3e38f})
      for (const float query_scale : {1e-42f, 1e-30f, 1.0f, 1e10f, 1e38f})
        for (const bool mixed : {false, true})
          on_every_isa([&] {
            const int64_t d = 10, c = 900, q = 5;
            Floats items = uniform(c * d, 7), queries = uniform(q * d, 8);
            for (int64_t r = 0; r < c; ++r)
              for (int64_t j = 0; j < d; ++j) items[r * d + j] *= mixed && r % 3 != 0 ? 1.0f : scale;
            for (int64_t i = 0; i < q * d; ++i) queries[i] *= query_scale;
            CAPTURE(scale);
            CAPTURE(query_scale);
            return same_as_exact(queries, q, items, c, d, 30, format);
          });
}

TEST_CASE("quantised: what is not a number or not finite, in rows and in queries") {
  for (const RowFormat format : kFormats)
    for (const int64_t q : {1, 5, 40})
      on_every_isa([&] {
        const int64_t d = 7, c = 700;
        Floats items = uniform(c * d, 9), queries = uniform(q * d, 10);
        for (int64_t r = 5; r < c; r += 17) items[r * d + r % d] = std::nanf("");
        items[30 * d + 2] = HUGE_VALF, items[31 * d] = -HUGE_VALF, items[699 * d + 6] = HUGE_VALF;
        for (int64_t i = 0; i < q; i += 4) queries[i * d + 3] = std::nanf("");
        Floats all = same_as_exact(queries, q, items, c, d, 20, format);
        if (q > 2) {
          queries[2 * d] = HUGE_VALF;
          same_as_exact(queries, q, items, c, d, 20, format);
          for (int64_t j = 0; j < d; ++j) queries[2 * d + j] = 0;
          same_as_exact(queries, q, items, c, d, 20, format);
        }
        for (int64_t i = 0; i < all.size(); ++i)
          if (std::isnan(all[i])) all[i] = -7;  // inf - inf has any sign
        return all;
      });
}

TEST_CASE("quantised: rows left out by query and rows allowed, from nearly none to nearly all") {
  for (const RowFormat format : kFormats)
    for (const int64_t q : {1, 8, 50})
      for (const double share : {0.0, 0.002, 0.1, 0.7, 1.0})
        on_every_isa([&] {
          const int64_t d = 16, c = 5001;
          std::mt19937 random(11);
          std::vector<uint64_t> allowed(static_cast<std::size_t>((c + 63) / 64));
          for (int64_t r = 0; r < c; ++r)
            if (std::uniform_real_distribution<>(0, 1)(random) < share)
              allowed[static_cast<std::size_t>(r / 64)] |= uint64_t{1} << (r % 64);
          std::vector<int64_t> offsets{0}, skip;
          for (int64_t i = 0; i < q; ++i) {
            for (int64_t r = i % 5; r < c; r += 2 + i % 3) skip.push_back(r);
            offsets.push_back(static_cast<int64_t>(skip.size()));
          }
          return same_as_exact(uniform(q * d, 12), q, uniform(c * d, 13), c, d, 40, format,
                               {offsets.data(), skip.data(), allowed.data()});
        });
}

TEST_CASE("quantised: rows far from and near the best, in random order and in ascending order of score") {
  for (const RowFormat format : kFormats)
    for (const bool ascending : {false, true})
      on_every_isa([&] {
        const int64_t d = 32, c = 20000, q = 3;
        Floats items = uniform(c * d, 14), queries(q * d);
        for (int64_t i = 0; i < q * d; ++i) queries[i] = 1;
        for (int64_t r = 0; ascending && r < c; ++r)
          for (int64_t j = 0; j < d; ++j) items[r * d + j] = static_cast<float>(r) * 1e-6f + 1e-3f * items[r * d + j];
        return same_as_exact(queries, q, items, c, d, 100, format);
      });
}

// The interval of every row holds the product in double, and is no wider than it must be.
TEST_CASE("quantised: the scan's sums are those of plain loops, with VNNI and without") {
  const int64_t d = 37, c = 96, q = 11;
  const Floats items = uniform(c * d, 15), queries = uniform(q * d, 16);
  for (const RowFormat format : kFormats) {
    const Kept kept(items, c, d, format);
    on_every_isa([&] {
      std::vector<const CoarseTable*> tables{format == RowFormat::int8 ? &int8_body() : &fp16_body()};
      if (format == RowFormat::int8 && int8_vnni_body() != nullptr) tables.push_back(int8_vnni_body());
      Floats first(0);
      for (const CoarseTable* table : tables) {
        std::vector<std::byte> memory(PreparedQueries::bytes(kept.rows, *table, q) + 64);
        const PreparedQueries prepared(memory.data(), kept.rows, *table, queries.data(), q);
        Floats sums(q * c, std::nanf(""));
        std::vector<Hit> hits(static_cast<std::size_t>(c * kQueryTile));
        const std::vector<float> thresholds(static_cast<std::size_t>(q), -HUGE_VALF);
        for (int64_t from = 0; from < q; from += prepared.each()) {
          const CoarseTile tile{kept.rows.blocks, kept.rows.scales, blocks_of(c), prepared.groups(), nullptr};
          const int64_t found = table->scan(tile, prepared.panel(from, thresholds.data()), hits.data());
          REQUIRE(found == std::min(prepared.each(), q - from) * c);
          for (int64_t h = 0; h < found; ++h) {
            const Hit& hit = hits[static_cast<std::size_t>(h)];
            sums[(from + hit.at % kQueryTile) * c + hit.at / kQueryTile] = hit.score;
          }
        }
        double widest = 0;
        bool inside = true;
        for (int64_t i = 0; i < q; ++i)
          for (int64_t r = 0; r < c; ++r) {
            double exact = 0;
            for (int64_t j = 0; j < d; ++j)
              exact += static_cast<double>(queries[i * d + j]) * static_cast<double>(items[r * d + j]);
            const Candidate interval =
                prepared.interval(i, sums[i * c + r], kept.scales[static_cast<std::size_t>(r)], r);
            inside =
                inside && static_cast<double>(interval.lower) < exact && exact < static_cast<double>(interval.upper);
            widest = std::max(widest, static_cast<double>(interval.upper) - static_cast<double>(interval.lower));
          }
        CHECK(inside);
        CHECK(widest < (format == RowFormat::int8 ? 0.27 : 0.01));  // products reach 6
        if (first.size() == 0)
          first = sums;
        else
          CHECK(same_bits(first, sums));
      }
      return first;
    });
  }
}
