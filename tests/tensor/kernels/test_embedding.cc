#include <twotower/tensor/kernels/embedding/embedding.h>

#include <map>

#include "testing.h"

using namespace kernel_tests;
using namespace tt::kernels;

TEST_CASE("embedding: gather copies rows and zeros for -1") {
  for (const int64_t dim : {1, 5, 16, 64, 67})
    on_every_body([&](auto zero) {
      using T = decltype(zero);
      const auto table = uniform<T>(100 * dim, 1);
      std::mt19937 random(2);
      std::vector<int64_t> ids(3001);
      for (auto& id : ids) id = static_cast<int64_t>(random() % 101) - 1;
      const auto n = static_cast<int64_t>(ids.size());
      Numbers<T> out(n * (dim + 2), 9);
      gather_rows(table.data(), dim, ids.data(), n, out.data(), dim + 2);
      bool right = true;
      for (int64_t i = 0; i < n; ++i) {
        const int64_t id = ids[static_cast<std::size_t>(i)];
        for (int64_t j = 0; j < dim + 2; ++j)
          right = right && out[i * (dim + 2) + j] == (j >= dim ? 9 : id < 0 ? 0 : table[id * dim + j]);
      }
      CHECK(right);
      return out;
    });
}

TEST_CASE("embedding: rows are summed by owner, in batch order, over several parts") {
  for (const int64_t range : {1, 50, 3000, 5000000})
    for (const int64_t dim : {3, 64})
      on_every_body([&](auto zero) {
        using T = decltype(zero);
        std::mt19937 random(3);
        std::vector<int64_t> a(1000), b(2500);
        for (auto* ids : {&a, &b})
          for (auto& id : *ids) id = static_cast<int64_t>(random()) % (range + 1) - 1;
        const auto da = uniform<T>(1000 * dim, 4), db = uniform<T>(2500 * (dim + 5), 5);
        const RowPart<T> parts[] = {{a.data(), da.data(), 1000, dim}, {b.data(), db.data(), 2500, dim + 5}};
        std::vector<double> work((row_groups_workspace(3500) + 7) / 8);
        const RowGroups g = group_rows(parts, 2, work.data());
        Numbers<T> values(g.groups * dim, 3);
        sum_row_groups(parts, 2, g, dim, values.data());

        std::map<int64_t, std::vector<T>> want;  // the same order of additions: bits must agree
        const auto add = [&](int64_t id, const T* row) {
          if (id < 0) return;
          auto [it, fresh] = want.try_emplace(id, row, row + dim);
          if (!fresh)
            for (int64_t j = 0; j < dim; ++j) it->second[static_cast<std::size_t>(j)] += row[j];
        };
        for (int64_t i = 0; i < 1000; ++i) add(a[static_cast<std::size_t>(i)], da.data() + i * dim);
        for (int64_t i = 0; i < 2500; ++i) add(b[static_cast<std::size_t>(i)], db.data() + i * (dim + 5));
        REQUIRE(g.groups == static_cast<int64_t>(want.size()));
        int64_t k = 0;
        bool right = true;
        for (const auto& [id, row] : want) {
          right = right && g.ids[k] == id;
          for (int64_t j = 0; j < dim; ++j) right = right && values[k * dim + j] == row[static_cast<std::size_t>(j)];
          ++k;
        }
        CHECK(right);
        return values;
      });
}

TEST_CASE("embedding: nothing to group") {
  const int64_t ids[] = {-1, -1};
  const RowPart<float> part{ids, nullptr, 2, 0};
  std::vector<double> work((row_groups_workspace(2) + 7) / 8);
  CHECK(group_rows(&part, 1, work.data()).groups == 0);
  CHECK(group_rows(&part, 0, work.data()).groups == 0);
}
