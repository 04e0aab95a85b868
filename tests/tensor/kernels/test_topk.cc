#include <twotower/tensor/kernels/topk/topk.h>

#include <algorithm>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

TEST_CASE("topk: a row of scores, ties by smaller row, NaN never") {
  for (const int64_t n : {0, 1, 5, 100, 9001})
    for (const int64_t k : {1, 10, 200})
      on_every_isa([&] {
        Floats x = uniform(n, 1);
        for (int64_t i = 0; i < n; ++i) x[i] = std::round(x[i] * 20);  // many ties
        if (n > 50) x[17] = std::nanf(""), x[3] = HUGE_VALF, x[4] = -HUGE_VALF;
        std::vector<int64_t> order;
        for (int64_t i = 0; i < n; ++i)
          if (!std::isnan(x[i])) order.push_back(i);
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return x[a] > x[b]; });
        std::vector<int64_t> rows(static_cast<std::size_t>(k));
        Floats best(k);
        const int64_t found = topk_scores(x.data(), n, k, 1000, rows.data(), best.data());
        REQUIRE(found == std::min<int64_t>(k, static_cast<int64_t>(order.size())));
        for (int64_t i = 0; i < found; ++i) {
          const auto at = static_cast<std::size_t>(i);
          CHECK(rows[at] == order[at] + 1000);
          CHECK(best[i] == x[order[at]]);
        }
        return best;
      });
}

TEST_CASE("topk: the best products of every batch size, with rows to skip") {
  for (const int64_t q : {0, 1, 3, 5, 17, 300})
    for (const int64_t d : {1, 7, 64})
      for (const int64_t c : {0, 9, 3001})
        on_every_isa([&] {
          // Small integers: products are exact, and ties are common.
          Floats queries = uniform(q * d, 1, -3, 3), items = uniform(c * d, 2, -3, 3);
          for (int64_t i = 0; i < q * d; ++i) queries[i] = std::round(queries[i]);
          for (int64_t i = 0; i < c * d; ++i) items[i] = std::round(items[i]);
          const int64_t k = 20;
          std::vector<int64_t> offsets{0}, skip;
          for (int64_t i = 0; i < q; ++i) {
            for (int64_t r = i % 5; r < c && r < 40; r += 3) skip.push_back(r);
            offsets.push_back(static_cast<int64_t>(skip.size()));
          }
          std::vector<int64_t> rows(static_cast<std::size_t>(q * k)), counts(static_cast<std::size_t>(q));
          Floats best(q * k);
          mips_topk(queries.data(), q, items.data(), c, d, k, rows.data(), best.data(), counts.data(),
                    {offsets.data(), skip.data()});
          bool right = true;
          for (int64_t i = 0; i < q; ++i) {
            const auto qi = static_cast<std::size_t>(i);
            std::vector<std::pair<double, int64_t>> all;
            for (int64_t r = 0; r < c; ++r) {
              if (std::binary_search(skip.begin() + offsets[qi], skip.begin() + offsets[qi + 1], r)) continue;
              double s = 0;
              for (int64_t j = 0; j < d; ++j)
                s += static_cast<double>(queries[i * d + j]) * static_cast<double>(items[r * d + j]);
              all.emplace_back(-s, r);
            }
            std::sort(all.begin(), all.end());
            const int64_t want = std::min<int64_t>(k, static_cast<int64_t>(all.size()));
            right = right && counts[qi] == want;
            for (int64_t j = 0; j < k; ++j) {
              const int64_t row = rows[static_cast<std::size_t>(i * k + j)];
              const auto at = static_cast<std::size_t>(j);
              right =
                  right && (j < want ? row == all[at].second && static_cast<double>(best[i * k + j]) == -all[at].first
                                     : row == -1 && best[i * k + j] == -HUGE_VALF);
            }
          }
          CAPTURE(q);
          CAPTURE(d);
          CAPTURE(c);
          CHECK(right);
          return best;
        });
}
