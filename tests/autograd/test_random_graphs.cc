// Random graphs of the ops, of a fixed seed. Small ones are checked element by element; big ones, whose gradients are
// zeroed row by row as they are touched, along random directions, and bit by bit on one thread and two.

#include <doctest/doctest.h>
#include <twotower/autograd/gradcheck.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/elements.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/matrix/linear.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/rows/normalize.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/autograd/ops/rows/softmax.h>
#include <twotower/autograd/ops/sequences/segments.h>
#include <twotower/layers/parameter_set.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <set>

using namespace tt;

namespace {

std::atomic<int> seen_partly_touched;

// The same value. In the backward pass, looks whether its input's gradient is one of which some rows are touched yet.
template <class T>
Variable<T> probe(Variable<T> x) {
  static const Op op("test_probe");
  const Tensor<T> xv = x.value(), y = x.tape().make(x.shape());
  std::copy(xv.begin(), xv.end(), y.begin());
  return x.tape().record(op, y, {x}, [=](const Tensor<T>& dout) {
    const int64_t half = xv.rows() / 2;
    const Accumulator<T> dx = x.accumulator();
    T* to = dx.rows(half, xv.rows());
    for (int64_t i = half * xv.cols(); i < xv.numel(); ++i) *to++ += dout[i];
    const Node<T>* node = x.node();
    while (node->alias) node = node->alias;
    if (node->touched && half > 0) {
      const auto* end = node->touched + node->value.rows();
      const bool none_left = std::find(static_cast<const uint8_t*>(node->touched), end, 0) == end;
      seen_partly_touched += !none_left;
    }
    to = dx.rows(0, half);
    for (int64_t i = 0; i < half * xv.cols(); ++i) *to++ += dout[i];
  });
}

template <class T>
struct Model {
  Model(uint64_t seed, bool big)
      : set(seed),
        x(set.add("x", big ? Shape{900 + static_cast<int64_t>(seed % 7) * 50, 8} : Shape{4, 3},
                  Initializer::normal(1))),
        w(set.add("w", big ? Shape{8, 8} : Shape{3, 3}, Initializer::normal(0.6))),
        table(set.add("table", big ? Shape{700, 8} : Shape{5, 3}, Initializer::normal(1))) {}
  ParameterSet<T> set;
  Parameter<T>*x, *w, *table;
};

// Makes a graph, op by op, from matrices that are there already. The choices depend on the seed and on shapes alone.
template <class T>
class Maker {
 public:
  Maker(Tape<T>& tape, const Model<T>& model, uint64_t seed, bool big)
      : tape_(tape), random_(seed), seed_(seed), big_(big), w_(tape.parameter(*model.w)) {
    const Variable<T> table = tape.parameter(*model.table);
    all_ = {tape.parameter(*model.x), table};
    all_.push_back(embedding(table, ids(table.rows(), big ? 800 : 4)));
  }

  Variable<T> make(int ops) {
    for (int i = 0; i < ops; ++i) all_.push_back(next());
    Variable<T> total = tape_.scalar(0);
    // Of the last ones only: this touches every row, before anything that comes earlier on the tape.
    for (size_t i = all_.size() - 4; i < all_.size(); ++i) total = total + mean(tanh(all_[i])) * T(0.5);
    return total;
  }

 private:
  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }

  Tensor<const int64_t> ids(int64_t rows, int64_t count) {
    const Tensor<int64_t> x = make_tensor<int64_t>(tape_.arena(), {count});
    for (int64_t& id : x) id = below(rows + 1) - 1;
    return x;
  }
  Tensor<const int64_t> offsets(int64_t rows) {
    std::vector<int64_t> cuts = {0, rows};
    for (int64_t i = below(big_ ? 60 : 3); i > 0; --i) cuts.push_back(below(rows + 1));
    std::sort(cuts.begin(), cuts.end());
    const Tensor<int64_t> x = make_tensor<int64_t>(tape_.arena(), {static_cast<int64_t>(cuts.size())});
    std::copy(cuts.begin(), cuts.end(), x.begin());
    return x;
  }
  Tensor<T> numbers(const Shape& shape) {
    const Tensor<T> x = tape_.make(shape);
    for (T& v : x) v = static_cast<T>(static_cast<float>(below(2001) - 1000) / 1000);
    return x;
  }

  // One of those for which `fits` holds: there is always the one that it is asked for.
  template <class Fits>
  Variable<T> one_of(Fits fits) {
    std::vector<Variable<T>> some;
    for (const Variable<T>& x : all_)
      if (fits(x)) some.push_back(x);
    return some[static_cast<size_t>(below(static_cast<int64_t>(some.size())))];
  }

  Variable<T> next() {
    const Variable<T> a = one_of([](const auto& x) { return x.numel() > 0; });
    const int64_t m = a.rows(), n = a.cols();
    const Variable<T> same = one_of([&](const auto& x) { return x.shape() == a.shape(); });
    const Variable<T> wide = one_of([&](const auto& x) { return x.cols() == n; });
    const Variable<T> tall = one_of([&](const auto& x) { return x.rows() == m; });
    switch (below(37)) {
      case 0:
        return a + same;
      case 1:
        return a - tanh(same);
      case 2:
        return tanh(a) * same;
      case 3:
        return a / (softplus(same) + T(0.5));
      case 4:
        return a + mean(same, 0);
      case 5:
        return a * tanh(mean(same, 1));
      case 6:
        return a - mean(wide);
      case 7:
        return square(tanh(a));
      case 8:
        return sqrt(softplus(a) + T(0.3));
      case 9:
        return exp(tanh(a));
      case 10:
        return log(softplus(a) + T(0.3));
      case 11:
        return sigmoid(a);
      case 12:
        return gelu(a);
      case 13:
        return a * T(-0.7);
      case 14:
      case 15:
        return a + T(0.4);  // an alias
      case 16:
      case 17:
        return reshape(a, below(2) == 0 ? Shape{n, m} : m % 2 == 0 ? Shape{m / 2, 2 * n} : Shape{m * n, 1});
      case 18:
      case 19:
      case 20: {
        const int64_t begin = below(m);
        return slice_rows(a, begin, begin + 1 + below(m - begin));
      }
      case 21: {
        const int64_t begin = below(n);
        return slice_columns(a, begin, begin + 1 + below(n - begin));
      }
      case 22:
        return m + wide.rows() < 3000 ? concat_rows(a, wide) : probe(a);
      case 23:
        return n + tall.cols() < 20 ? concat_columns({a, tall}) : probe(a);
      case 24:
        return transpose(a);
      case 25:
        return softmax_rows(a);
      case 26:
        return log_softmax_rows(a) * T(0.3);
      case 27:
        return l2_normalize(sigmoid(a));
      case 28: {
        const Tensor<T> steps = tape_.make({n});  // no row is constant: the layer is steep there
        for (int64_t j = 0; j < n; ++j) steps[j] = static_cast<T>(2 * j);
        return layer_norm(tanh(a) + tape_.constant(steps), mean(wide, 0), mean(a, 0));
      }
      case 29:
        return row_dot(tanh(a), same);
      case 30: {  // another alias
        return add_positional<T>(a, offsets(m), numbers({m, n}));
      }
      case 31:
        return below(2) == 0 ? segment_mean(a, offsets(m)) : segment_first(a, offsets(m));
      case 32: {
        const int64_t width = w_.cols();
        if (n + tall.cols() > width) return dropout(a, 0.3, Philox(seed_, all_.size()));
        return linear({a, tall}, slice_columns(w_, 0, n + tall.cols()), {});
      }
      case 33:
      case 34:
        return probe(a);
      default:
        return n > w_.rows() ? probe(a) : matmul(a, slice_rows(w_, 0, n));
    }
  }

  Tape<T>& tape_;
  std::mt19937_64 random_;
  uint64_t seed_;
  bool big_;
  Variable<T> w_;
  std::vector<Variable<T>> all_;
};

// Memory that a step finds is not zero: what an op forgets to write shows.
template <class T>
void spoil(Arena& arena) {
  constexpr int64_t kNumbers = 8 << 20;
  for (int round = 0; round < 2; ++round) {
    std::fill_n(arena.allocate<T>(kNumbers), kNumbers, std::numeric_limits<T>::quiet_NaN());
    arena.reset();
  }
}

template <class T>
std::vector<T> gradient(const Model<T>& model, uint64_t seed, int threads) {
  const int before = num_threads();
  set_num_threads(threads);
  Arena arena;
  spoil<T>(arena);
  Tape<T> tape(arena);
  const Gradients<T> gradients = tape.backward(Maker<T>(tape, model, seed, true).make(14));
  std::vector<T> all;
  for (const Parameter<T>* p : model.set.all()) {
    const Gradient<T> g = gradients.of(*p);
    std::vector<T> dense(static_cast<size_t>(p->value.numel()), 0);
    std::copy(g.dense.begin(), g.dense.end(), dense.begin());
    if (g.rows.count() > 0) add_rows(g.rows, Tensor<T>(dense.data(), p->value.shape()));
    all.insert(all.end(), dense.begin(), dense.end());
  }
  set_num_threads(before);
  return all;
}

}  // namespace

TEST_CASE("random graphs: every gradient is the numeric one") {
  std::set<std::string> ops;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const Model<double> model(seed, false);
    const GradcheckReport report =
        gradcheck(model.set.all(), [&](Tape<double>& tape) { return Maker<double>(tape, model, seed, false).make(8); });
    INFO("seed ", seed, ", worst at ", report.where);
    CHECK(report.worst < 1e-6);
    ops.insert(report.ops.begin(), report.ops.end());
  }
  CHECK(ops.size() > 30);
}

TEST_CASE("random graphs above 4,096 elements: right along a direction, and the same bits on two threads") {
  seen_partly_touched = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed ", seed);
    Model<double> model(seed, true);
    const std::vector<double> exact = gradient(model, seed, 1);
    CHECK(exact == gradient(model, seed, 2));

    const Philox random(seed, 7);
    const auto value_at = [&](double step) {
      uint64_t i = 0;
      for (const Parameter<double>* p : model.set.all())
        for (double& v : p->value) v += step * random.normal(i++);
      Arena arena;
      Tape<double> tape(arena, /*recording=*/false);
      const double value = Maker<double>(tape, model, seed, true).make(14).item();
      i = 0;
      for (const Parameter<double>* p : model.set.all())
        for (double& v : p->value) v -= step * random.normal(i++);
      return value;
    };
    double slope = 0, length = 0;
    for (uint64_t i = 0; i < exact.size(); ++i) slope += exact[i] * random.normal(i), length += exact[i] * exact[i];
    const double numeric = (value_at(1e-5) - value_at(-1e-5)) / 2e-5;
    CHECK(std::abs(slope - numeric) < 1e-6 * (std::sqrt(length) + 0.1));

    const Model<float> narrow(seed, true);
    CHECK(gradient(narrow, seed, 1) == gradient(narrow, seed, 2));
  }
  CHECK(seen_partly_touched > 10);  // else these graphs never take the path that they are for
}
