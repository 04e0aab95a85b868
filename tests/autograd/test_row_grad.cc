#include <doctest/doctest.h>
#include <twotower/autograd/gradcheck.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <vector>

using namespace tt;

namespace {

struct Table {
  Table(int64_t rows, int64_t d) {
    p.name = "table";
    p.value = make_tensor<float>(pool, {rows, d});
    Philox(3).fill_normal(p.value.data(), p.value.numel(), 0.0f, 1.0f);
  }
  Pool pool;
  Parameter<float> p;
};

}  // namespace

TEST_CASE("row gradients: sorted unique rows, equal to the dense gradient, of two lookups at once") {
  Table table(50, 3);
  const std::vector<int64_t> first = {7, 3, -1, 7, 49}, second = {3, 0, 7};
  Arena arena;
  Tape<float> tape(arena);
  const Variable<float> t = tape.parameter(table.p);
  const Variable<float> a = embedding(t, {first.data(), {5}}), b = embedding(t, {second.data(), {3}});
  const Gradients<float> gradients = tape.backward(add(sum(square(a)), sum(b)));

  const RowGrad<float>& g = gradients.of(table.p).rows;
  REQUIRE(g.count() == 4);
  const int64_t rows[] = {0, 3, 7, 49};
  const float lookups_a[] = {0, 1, 2, 1}, lookups_b[] = {1, 1, 1, 0};
  for (int64_t r = 0; r < 4; ++r) {
    CHECK(g.rows[r] == rows[r]);
    for (int64_t j = 0; j < 3; ++j)
      CHECK(g.values.row(r)[j] == doctest::Approx(2 * lookups_a[r] * table.p.value.row(rows[r])[j] + lookups_b[r]));
  }
  CHECK(!gradients.of(table.p).dense);
}

// Some 18,000 rows of 64 numbers: far above the 32,768 numbers that one chunk sums, so that two threads do meet.
TEST_CASE("row gradients do not depend on the number of threads") {
  constexpr int64_t kLookups = 50000, kWidth = 64;
  std::vector<std::vector<float>> seen;
  for (const int threads : {1, 2}) {
    const int before = num_threads();
    set_num_threads(threads);
    Table table(20000, kWidth);
    std::vector<int64_t> ids(kLookups);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(Philox(9).below(i, 20000));
    Arena arena;
    Tape<float> tape(arena);
    const Gradients<float> gradients =
        tape.backward(sum(square(embedding(tape.parameter(table.p), {ids.data(), {kLookups}}))));
    const Tensor<float> values = gradients.of(table.p).rows.values;
    seen.emplace_back(values.begin(), values.end());
    set_num_threads(before);
  }
  CHECK(seen[0] == seen[1]);
}

TEST_CASE("embedding refuses an id out of range and says which") {
  Table table(4, 2);
  const int64_t ids[] = {0, 4};
  Arena arena;
  Tape<float> tape(arena);
  CHECK_THROWS_WITH_AS(embedding(tape.parameter(table.p), {ids, {2}}),
                       "[embedding] id 4 at position 1; the table has rows 0 to 3 (-1 means none)", Error);
}
