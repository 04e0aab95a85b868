// What one could do wrong with an engine that keeps gradients beside parameters, and what happens here. Each case says
// what an engine of that kind, which this one once was, made of it.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/matrix/linear.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/rows/normalize.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/layers/embedding.h>
#include <twotower/layers/mlp.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/kernels/isa.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/optim/adam.h>

#include <cmath>
#include <thread>

using namespace tt;

namespace {

template <class T>
Tensor<T> normals(Pool& pool, const Shape& shape, uint64_t seed) {
  const Tensor<T> x = make_tensor<T>(pool, shape);
  Philox(seed).fill_normal(x.data(), x.numel(), T(0), T(1));
  return x;
}

// A small model: a table that is looked up, and a perceptron over what was found.
struct Model {
  ParameterSet<float> set;
  Embedding<float> table{set, "table", 40, 6};
  Mlp<float> mlp{set, "mlp", {6, 8, 1}};

  Variable<float> loss(Tape<float>& tape, Tensor<const int64_t> ids) const {
    return mean(square(mlp(tape, table(tape, ids))));
  }
};

using Numbers = std::vector<float>;

Numbers numbers_of(const Model& model, const Gradients<float>& gradients) {
  Numbers all;
  for (const Parameter<float>* p : model.set.all()) {
    const Gradient<float> g = gradients.of(*p);
    all.insert(all.end(), g.dense.begin(), g.dense.end());
    all.insert(all.end(), g.rows.values.begin(), g.rows.values.end());
    for (const int64_t row : g.rows.rows) all.push_back(static_cast<float>(row));
  }
  return all;
}

// Different lookups for each k.
struct Ids {
  explicit Ids(int64_t k) {
    for (int64_t i = 0; i < 12; ++i) ids[i] = (7 * i * (k + 1) + k) % 40;
  }
  Tensor<const int64_t> view() const { return {ids, {12}}; }
  int64_t ids[12];
};

Numbers alone(const Model& model, int64_t k) {
  const Ids ids(k);
  Arena arena;
  Tape<float> tape(arena);
  return numbers_of(model, tape.backward(model.loss(tape, ids.view())));
}

}  // namespace

// Once the second walk added to gradients that were there already: every one came out doubled, and more.
TEST_CASE("hazard: backward runs once a step, and says so") {
  Pool pool;
  Arena arena;
  Tape<double> tape(arena);
  const Variable<double> x = tape.variable(normals<double>(pool, {3}, 1)), loss = sum(square(x));
  const Gradients<double> gradients = tape.backward(loss);
  const double first = gradients.of(x)[0];
  CHECK(first == 2 * x.value()[0]);
  CHECK_THROWS_WITH_AS(
      tape.backward(loss),
      "[backward] the gradients of this step have been made already; call reset() and record the next one", Error);
  CHECK(gradients.of(x)[0] == first);
  tape.reset();
  const Variable<double> again = tape.variable(normals<double>(pool, {3}, 1));
  CHECK(tape.backward(sum(square(again))).of(again)[0] == first);
}

// Once the output's gradient was the caller's own memory: a fused relu cut it in place, and a second use of the output
// was added into it.
TEST_CASE("hazard: the upstream gradient is read, neither adopted nor changed") {
  Pool pool;
  Arena arena;
  Tape<double> tape(arena);
  const Tensor<double> upstream = normals<double>(pool, {4, 3}, 5);
  const std::vector<double> before(upstream.begin(), upstream.end());
  const Variable<double> x = tape.variable(normals<double>(pool, {4, 2}, 6)),
                         w = tape.variable(normals<double>(pool, {3, 2}, 7));
  const Gradients<double> gradients = tape.backward(linear({x}, w, {}, Activation::relu), upstream);
  CHECK(std::vector<double>(upstream.begin(), upstream.end()) == before);
  CHECK(gradients.of(x).numel() == 8);

  tape.reset();
  const Variable<double> leaf = tape.variable(normals<double>(pool, {4, 3}, 8));
  const Tensor<double> own = tape.backward(leaf, upstream).of(leaf);
  CHECK(own.data() != upstream.data());
  CHECK(std::vector<double>(own.begin(), own.end()) == before);
}

// Once a parameter knew one leaf, that of the tape which asked last: A's gradients went to B's leaves or nowhere.
TEST_CASE("hazard: two tapes over one model at once") {
  const Model model;
  const Ids ids_a(0), ids_b(1);
  Arena arena_a, arena_b;
  Tape<float> a(arena_a), b(arena_b);
  const Variable<float> loss_a = model.loss(a, ids_a.view());
  const Variable<float> loss_b = model.loss(b, ids_b.view());
  const Gradients<float> of_a = a.backward(loss_a);
  const Gradients<float> of_b = b.backward(loss_b);
  CHECK(numbers_of(model, of_a) == alone(model, 0));
  CHECK(numbers_of(model, of_b) == alone(model, 1));
  CHECK(numbers_of(model, of_a) != numbers_of(model, of_b));
}

// The same from threads, where those leaves were a data race. Run under ThreadSanitizer, this case is clean.
TEST_CASE("hazard: tapes of several threads over one model") {
  const Model model;
  std::vector<Numbers> expected, found(4);
  for (int64_t k = 0; k < 4; ++k) expected.push_back(alone(model, k));
  std::vector<std::thread> threads;
  for (int64_t k = 0; k < 4; ++k)
    threads.emplace_back([&, k] {
      const ThreadScope serial(1);  // a thread each is enough
      const Ids ids(k);
      Arena arena;
      Tape<float> tape(arena);
      for (int step = 0; step < 50; ++step, tape.reset()) {
        const Numbers now = numbers_of(model, tape.backward(model.loss(tape, ids.view())));
        if (step == 0)
          found[static_cast<size_t>(k)] = now;
        else if (now != found[static_cast<size_t>(k)])
          found[static_cast<size_t>(k)] = {};
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t k = 0; k < 4; ++k) CHECK(found[k] == expected[k]);
}

// Once any tape that looked at a parameter wiped its gradient: an evaluation before the step made the step a blank.
TEST_CASE("hazard: an evaluation between backward and step does not touch the gradients") {
  Model model, undisturbed;
  const Ids ids(2);
  for (Model* m : {&model, &undisturbed}) {
    Arena arena, evaluation_arena;
    Tape<float> tape(arena);
    Adam<float> adam;
    const Gradients<float> gradients = tape.backward(m->loss(tape, ids.view()));
    if (m == &model) {
      const Numbers before = numbers_of(*m, gradients);
      Tape<float> values(evaluation_arena, /*recording=*/false), other(evaluation_arena);
      m->loss(values, Ids(3).view());
      other.backward(m->loss(other, Ids(3).view()));
      CHECK(numbers_of(*m, gradients) == before);
    }
    adam.step(m->set.all(), gradients);
  }
  for (size_t i = 0; i < model.set.all().size(); ++i) {
    const Tensor<float> x = model.set.all()[i]->value, y = undisturbed.set.all()[i]->value;
    CHECK(std::equal(x.begin(), x.end(), y.begin()));
  }
}

// Once a gradient was a pointer beside the parameter: after a reset it led into memory of the next step.
TEST_CASE("hazard: gradients of a step that is over are refused, and nothing is updated by them") {
  Model model;
  const Ids ids(0);
  Arena arena;
  Tape<float> tape(arena);
  const Variable<float> leaf = tape.variable(make_tensor<float>(arena, {1}));
  const Gradients<float> gradients = tape.backward(model.loss(tape, ids.view()));
  tape.reset();
  const char* text = "[gradients] the tape was reset since they were made; use them before tape.reset()";
  const Parameter<float>& p = *model.set.all()[1];
  CHECK_THROWS_WITH_AS(gradients.of(p), text, Error);
  CHECK_THROWS_WITH_AS(gradients.of(leaf), text, Error);
  CHECK_THROWS_WITH_AS(gradients.all(), text, Error);
  CHECK_THROWS_WITH_AS(gradients.norm(), text, Error);
  Adam<float> adam;
  const Numbers before(p.value.begin(), p.value.end());
  CHECK_THROWS_WITH_AS(adam.step(model.set.all(), gradients), text, Error);
  CHECK(adam.steps() == 0);
  CHECK(Numbers(p.value.begin(), p.value.end()) == before);
}

TEST_CASE("hazard: variables of another tape are refused") {
  Pool pool;
  Arena arena_a, arena_b;
  Tape<double> a(arena_a), b(arena_b);
  const Variable<double> x = a.variable(normals<double>(pool, {2, 2}, 1)),
                         y = b.variable(normals<double>(pool, {2, 2}, 2));
  CHECK_THROWS_WITH_AS(x + y, "[add] input 1 belongs to another tape", Error);
  CHECK_THROWS_WITH_AS(linear({x}, y, {}), "[linear] input 0 belongs to another tape", Error);
  const Variable<double> loss = sum(x);
  CHECK_THROWS_WITH_AS(b.backward(loss), "[backward] the output is not one of this tape", Error);
  CHECK_THROWS_WITH_AS(a.backward(loss).of(y), "[gradients] the variable belongs to another tape", Error);
}

// Once the ninth part was written behind an array on the stack, and of no parts the first one was read.
TEST_CASE("hazard: concat_columns takes 1 to 8 parts") {
  Pool pool;
  Arena arena;
  Tape<double> tape(arena);
  const Variable<double> x = tape.variable(normals<double>(pool, {2, 1}, 1));
  CHECK_THROWS_WITH_AS(concat_columns<double>({}), "[concat_columns] 0 parts; 1 to 8 are supported", Error);
  CHECK_THROWS_WITH_AS(concat_columns({x, x, x, x, x, x, x, x, x}), "[concat_columns] 9 parts; 1 to 8 are supported",
                       Error);
  const Variable<double> y = concat_columns({x, x, x, x, x, x, x, x});
  CHECK(y.cols() == 8);
  CHECK(tape.backward(sum(y)).of(x)[1] == 8);
}

// Once the bias's gradient was made only where the gain's was.
TEST_CASE("hazard: layer_norm keeps the bias's gradient when the gain is frozen, and the other way round") {
  Pool pool;
  Arena arena;
  Tape<double> tape(arena);
  const Tensor<double> x = normals<double>(pool, {5, 4}, 1), gain = normals<double>(pool, {4}, 2),
                       bias = normals<double>(pool, {4}, 3), up = normals<double>(pool, {5, 4}, 4);
  const auto gradients_of = [&](bool gain_too, bool bias_too) {
    const auto g = gain_too ? tape.variable(gain) : tape.constant(gain),
               b = bias_too ? tape.variable(bias) : tape.constant(bias);
    const Gradients<double> gradients = tape.backward(layer_norm(tape.constant(x), g, b), up);
    std::vector<double> all;
    for (const auto& v : {g, b}) {
      if (!v.requires_grad()) continue;
      const Tensor<double> dv = gradients.of(v);
      all.insert(all.end(), dv.begin(), dv.end());
    }
    tape.reset();
    return all;
  };
  const std::vector<double> both = gradients_of(true, true), only_bias = gradients_of(false, true);
  for (int64_t j = 0; j < 4; ++j) {
    double sum = 0;
    for (int64_t i = 0; i < 5; ++i) sum += up.row(i)[j];
    CHECK(only_bias[static_cast<size_t>(j)] == doctest::Approx(sum).epsilon(1e-12));
  }
  CHECK(std::vector<double>(both.begin() + 4, both.end()) == only_bias);
  CHECK(std::vector<double>(both.begin(), both.begin() + 4) == gradients_of(true, false));
}

// Once x > 0 ? x : 0 made a 0 of it, and a diverged training went on with numbers that looked sound.
TEST_CASE("hazard: NaN passes relu, alone and fused, on every instruction set and in both GEMMs") {
  Pool pool;
  Arena arena;
  Tape<float> tape(arena);
  const auto nan_rows = [&](auto y, int64_t m) {
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < y.cols(); ++j) {
        if (std::isnan(y.value().row(i)[j]) != (i % 3 == 0)) return false;
        if (y.value().row(i)[j] < 0) return false;
      }
    return true;
  };
  struct Size {
    int64_t m, n, k;
  };
  std::vector<GemmBackend> backends = {GemmBackend::own};
  if (*onednn_version()) backends.push_back(GemmBackend::onednn);
  const kernels::Isa before = kernels::active_isa();
  for (const auto& [m, n, k] : {Size{1, 1, 1}, Size{4, 5, 3}, Size{1, 40, 9}, Size{70, 33, 17}, Size{256, 256, 256}}) {
    INFO("[", m, ", ", k, "] x [", k, ", ", n, "]");
    const Tensor<float> x = normals<float>(pool, {m, k}, 1), w = normals<float>(pool, {n, k}, 2),
                        b = normals<float>(pool, {n}, 3);
    for (int64_t i = 0; i < m; i += 3) x.row(i)[k - 1] = std::nanf("");
    for (const kernels::Isa isa : kernels::supported_isas())
      for (const GemmBackend backend : backends) {
        kernels::set_isa(isa), force_gemm_backend(backend);
        CHECK(nan_rows(linear({tape.constant(x)}, tape.constant(w), tape.constant(b), Activation::relu), m));
        CHECK(nan_rows(linear({tape.constant(x)}, tape.constant(w), {}, Activation::relu), m));
        CHECK(nan_rows(relu(matmul(tape.constant(x), tape.constant(w), true)), m));
        tape.reset();
      }
    Tape<double> wide(arena);
    const Tensor<double> xd = normals<double>(pool, {m, k}, 1), wd = normals<double>(pool, {n, k}, 2);
    for (int64_t i = 0; i < m; i += 3) xd.row(i)[k - 1] = std::nan("");
    CHECK(nan_rows(linear({wide.constant(xd)}, wide.constant(wd), {}, Activation::relu), m));
    wide.reset();
  }
  kernels::set_isa(before), force_gemm_backend(std::nullopt);
}

// Once the input's and the weight's gradient, the same memory, were each taken for empty. Above 4,096 elements, so that
// rows are zeroed as they are touched, and above one block of rows.
TEST_CASE("hazard: a linear layer whose input is its own weight") {
  Pool pool;
  Arena arena;
  Tape<double> tape(arena);
  for (const int64_t n : {5, 80, 300}) {
    const Tensor<double> w = normals<double>(pool, {n, n}, 1), b = normals<double>(pool, {n}, 2),
                         up = normals<double>(pool, {n, n}, 3);
    std::vector<std::vector<double>> found;
    for (const bool fused : {true, false}) {
      const Variable<double> wv = tape.variable(w), bv = tape.variable(b);
      const Variable<double> y = fused ? linear({wv}, wv, bv) : matmul(wv, wv, true) + bv;
      const Tensor<double> dw = tape.backward(y, up).of(wv);
      found.emplace_back(dw.begin(), dw.end());
      tape.reset();
    }
    for (size_t i = 0; i < found[0].size(); ++i) CHECK(found[0][i] == doctest::Approx(found[1][i]).scale(10));
  }
}

// The blocks' gradients meet in rows of one tensor, but a chunk's rows of the one are another chunk's of the other:
// two threads once zeroed and added to the same memory at the same time.
TEST_CASE("hazard: a linear layer over two overlapping slices of one tensor") {
  Pool pool;
  const Tensor<double> x = normals<double>(pool, {3000, 8}, 1), w = normals<double>(pool, {4, 16}, 2),
                       up = normals<double>(pool, {2700, 4}, 3);
  const auto gradient = [&](bool fused) {
    Arena arena;
    Tape<double> tape(arena);
    const Variable<double> all = tape.variable(x), a = slice_rows(all, 0, 2700), b = slice_rows(all, 300, 3000);
    const Variable<double> y =
        fused ? linear({a, b}, tape.constant(w), {}) : matmul(concat_columns({a, b}), tape.constant(w), true);
    const Tensor<double> dx = tape.backward(y, up).of(all);
    return std::vector<double>(dx.begin(), dx.end());
  };
  const int before = num_threads();
  set_num_threads(1);
  const std::vector<double> expected = gradient(true), unfused = gradient(false);
  for (size_t i = 0; i < expected.size(); ++i) REQUIRE(expected[i] == doctest::Approx(unfused[i]).scale(10));
  set_num_threads(2);
  for (int trial = 0; trial < 50; ++trial) REQUIRE(gradient(true) == expected);
  set_num_threads(before);
}

// A frozen part of a model: its parameters are constants there, and trained elsewhere on the same tape.
TEST_CASE("hazard: NoGrad freezes what is recorded while it lives, and nothing else") {
  Model model;
  const Ids ids(0);
  Arena arena;
  Tape<float> tape(arena);
  Variable<float> frozen;
  {
    const NoGrad scope(tape);
    frozen = model.loss(tape, ids.view());
    CHECK(!frozen.requires_grad());
  }
  const Variable<float> trained = model.loss(tape, ids.view());
  CHECK(numbers_of(model, tape.backward(frozen + trained)) == alone(model, 0));
  tape.reset();
  const Variable<float> again = [&] {
    const NoGrad scope(tape);
    return model.loss(tape, ids.view());
  }();
  CHECK_THROWS_WITH_AS((void)tape.backward(again),
                       "[backward] the loss depends on no parameter; was everything detached, or made under NoGrad?",
                       Error);
}
