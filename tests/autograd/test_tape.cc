#include <doctest/doctest.h>
#include <twotower/autograd/graph.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/losses/retrieval_losses.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/rows/reduce.h>

#include <sstream>

using namespace tt;

TEST_CASE("a tape's gradients, by hand: L = sum((x w)^2)") {
  Pool pool;
  Arena arena;
  Tape<double> tape(arena);
  Parameter<double> w;
  w.name = "w";
  w.value = make_tensor<double>(pool, {2, 1});
  w.value[0] = 2, w.value[1] = -1;
  const Tensor<double> x = make_tensor<double>(pool, {1, 2});
  x[0] = 3, x[1] = 5;
  for (int step = 0; step < 3; ++step) {  // the same after a reset
    const Variable<double> loss = sum(square(matmul(tape.constant(x), tape.parameter(w))));
    const Gradients<double> gradients = tape.backward(loss);
    CHECK(loss.item() == 1);               // (6 - 5)^2
    CHECK(gradients.of(w).dense[0] == 6);  // 2 (xw) x
    CHECK(gradients.of(w).dense[1] == 10);
    tape.reset();
  }
}

TEST_CASE("shape errors name the op and the shapes") {
  Pool pool;
  Arena arena;
  Tape<float> tape(arena);
  const auto a = tape.constant(make_tensor<float>(pool, {32, 64})),
             b = tape.constant(make_tensor<float>(pool, {60, 10}));
  CHECK_THROWS_WITH_AS(matmul(a, b), "[matmul] inner sizes differ: [32, 64] x [60, 10]", Error);
  CHECK_THROWS_WITH_AS(add(a, b), "[add] shapes differ: [32, 64] and [60, 10]", Error);
  CHECK_THROWS_WITH_AS(tape.backward(a), "[backward] the loss has shape [32, 64]; it must have one element", Error);
}

TEST_CASE("a tape that keeps values only refuses to go backward") {
  Pool pool;
  Arena arena;
  Tape<float> tape(arena, /*recording=*/false);
  const auto x = tape.variable(make_tensor<float>(pool, {1}));
  CHECK_THROWS_WITH_AS(tape.backward(square(x)),
                       "[backward] this tape keeps values only; make it with recording = true", Error);
}

TEST_CASE("the graph names parameters, ops and shapes") {
  Pool pool;
  Arena arena;
  Tape<float> tape(arena);
  Parameter<float> w;
  w.name = "tower.weight";
  w.value = make_tensor<float>(pool, {4, 2});
  relu(matmul(tape.constant(make_tensor<float>(pool, {3, 4})), tape.parameter(w)));
  std::ostringstream out;
  write_graph(out, tape);
  const std::string dot = out.str();
  for (const char* part : {"digraph", "tower.weight\\n[4, 2]", "matmul\\n[3, 2]", "relu\\n[3, 2]", "n2 -> n3"})
    CHECK(dot.find(part) != std::string::npos);
}

TEST_CASE("an excluded column that does not exist is refused") {
  Pool pool;
  Arena arena;
  Tape<float> tape(arena);
  const auto u = tape.constant(make_tensor<float>(pool, {2, 4})), v = tape.constant(make_tensor<float>(pool, {2, 4}));
  const Tensor<float> ones = make_tensor<float>(pool, {2});
  ones.fill(1);
  const int64_t offsets[] = {0, 1, 1};
  const int32_t columns[] = {2};
  Candidates<float> candidates;
  candidates.exclude = {{offsets, {3}}, {columns, {1}}};
  CHECK_THROWS_WITH_AS(in_batch_softmax(u, v, tape.scalar(1), tape.constant(ones), candidates),
                       "[in_batch_softmax] exclusions: column 2; the columns are 0 to 1", Error);
}
