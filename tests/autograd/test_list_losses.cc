// Losses over lists against their formulas, written out entry by entry and pair by pair; and what lists of no, of one
// and of missing entries do.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/losses/list_losses.h>
#include <twotower/autograd/ops/losses/lists.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/tensor/random.h>

#include <cmath>
#include <functional>
#include <limits>

using namespace tt;

namespace {

using Numbers = std::vector<double>;

const double kNaN = std::numeric_limits<double>::quiet_NaN();

Numbers normals(size_t n, uint64_t stream) {
  Numbers x(n);
  for (size_t k = 0; k < n; ++k) x[k] = Philox(31, stream).normal(k);
  return x;
}

template <class T>
Tensor<const T> view(const std::vector<T>& x) {
  static const T none{};
  return {x.empty() ? &none : x.data(), {static_cast<int64_t>(x.size())}};
}

// Lists of many, of one, of no entries, with some entries missing, and one list of which all are.
struct Problem {
  std::vector<int64_t> offsets = {0, 7, 8, 8, 10, 30};
  Numbers scores = normals(30, 1), target = normals(30, 2), anchor = normals(30, 3), log_q = normals(30, 4);
  Numbers weight = normals(30, 5), row_weight = {0.5, 2, 3, 1, 0.25};
  Problem() {
    for (const size_t k : {3, 8, 9, 10, 21, 29}) target[k] = kNaN;
    for (double& w : weight) w = std::abs(w);
    weight[5] = weight[12] = 0;
    target[15] = target[17] = target[25] = 2.5;  // the highest of their list, and equal
  }
  using Loss = std::function<Variable<double>(Variable<double>, Tensor<const int64_t>)>;
  // The loss and its gradient, one after another.
  Numbers run(const Loss& loss) const {
    Pool pool;
    Arena arena;
    Tape<double> tape(arena);
    const Tensor<double> x = make_tensor<double>(pool, {static_cast<int64_t>(scores.size())});
    std::copy(scores.begin(), scores.end(), x.begin());
    const Variable<double> s = tape.variable(x), y = loss(s, view(offsets));
    Numbers result = {y.item()};
    const Gradients<double> gradients = tape.backward(y);
    for (const double g : gradients.of(s)) result.push_back(g);
    return result;
  }
  double value(const Loss& loss) const { return run(loss)[0]; }
};

// sum_i W_i x_i / sum_i W_i for x_i = row(the entries of row i that take part), over the rows that have some.
double mean_of(const Problem& p, const Numbers& row_weight,
               const std::function<double(const std::vector<size_t>&)>& row) {
  double total = 0, weights = 0;
  for (size_t i = 0; i + 1 < p.offsets.size(); ++i) {
    std::vector<size_t> entries;
    for (auto k = static_cast<size_t>(p.offsets[i]); k < static_cast<size_t>(p.offsets[i + 1]); ++k)
      if (!std::isnan(p.target[k])) entries.push_back(k);
    const double x = entries.empty() ? kNaN : row(entries);
    if (std::isnan(x)) continue;
    total += row_weight[i] * x;
    weights += row_weight[i];
  }
  return total / weights;
}

// softmax(logits - log_q) over the entries.
Numbers softmax(const Numbers& logits, const Numbers& log_q, const std::vector<size_t>& entries) {
  Numbers p;
  double total = 0;
  for (const size_t k : entries) total += std::exp(logits[k] - log_q[k]);
  for (const size_t k : entries) p.push_back(std::exp(logits[k] - log_q[k]) / total);
  return p;
}

double kl(const Numbers& p, const Numbers& q) {
  double sum = 0;
  for (size_t k = 0; k < p.size(); ++k) sum += p[k] * std::log(p[k] / q[k]);
  return sum;
}

const Numbers kOnes(30, 1.0), kZeros(30, 0.0);

}  // namespace

TEST_CASE("the scores of a list are the entries of the whole product") {
  const int64_t b = 5, m = 11;
  const std::vector<int64_t> offsets = {0, 7, 8, 8, 10, 30};
  std::vector<int32_t> columns;
  for (uint64_t k = 0; k < 30; ++k) columns.push_back(static_cast<int32_t>(Philox(7).below(k, 10)));  // none at 10
  for (const int64_t d : {1, 16, 37}) {
    const Numbers u = normals(static_cast<size_t>(b * d), 8), v = normals(static_cast<size_t>(m * d), 9),
                  up = normals(30, 10);
    Pool pool;
    Arena arena;
    Tape<double> tape(arena);
    const auto leaf = [&](const Numbers& x, const Shape& shape) {
      const Tensor<double> t = make_tensor<double>(pool, shape);
      std::copy(x.begin(), x.end(), t.begin());
      return tape.variable(t);
    };
    const Variable<double> uu = leaf(u, {b, d}), vv = leaf(v, {m, d});
    const Variable<double> all = matmul(uu, vv, true), s = list_scores(uu, vv, {view(offsets), view(columns)});
    REQUIRE(s.shape() == Shape{30});
    Numbers du(u.size()), dv(v.size());
    for (size_t i = 0; i < 5; ++i)
      for (auto k = static_cast<size_t>(offsets[i]); k < static_cast<size_t>(offsets[i + 1]); ++k) {
        const auto j = static_cast<size_t>(columns[k]), width = static_cast<size_t>(d);
        CHECK(s.value()[static_cast<int64_t>(k)] ==
              doctest::Approx(all.value().row(static_cast<int64_t>(i))[j]).epsilon(1e-12));
        for (size_t c = 0; c < width; ++c) {
          du[i * width + c] += up[k] * v[j * width + c];
          dv[j * width + c] += up[k] * u[i * width + c];
        }
      }
    const Gradients<double> gradients = tape.backward(s, view(up));
    const Tensor<double> got_u = gradients.of(uu), got_v = gradients.of(vv);
    for (size_t i = 0; i < du.size(); ++i)
      CHECK(got_u[static_cast<int64_t>(i)] == doctest::Approx(du[i]).epsilon(1e-12));
    for (size_t i = 0; i < dv.size(); ++i)
      CHECK(got_v[static_cast<int64_t>(i)] == doctest::Approx(dv[i]).epsilon(1e-12));
  }
}

TEST_CASE("squared error of lists: a weighted mean a row, and a weighted mean over rows") {
  const Problem p;
  const auto reference = [&](const Numbers& weight, const Numbers& row_weight) {
    return mean_of(p, row_weight, [&](const std::vector<size_t>& entries) {
      double sum = 0, total = 0;
      for (const size_t k : entries) sum += weight[k] * std::pow(p.scores[k] - p.target[k], 2), total += weight[k];
      return sum / total;
    });
  };
  CHECK(p.value([&](auto s, auto o) { return list_squared_error(s, o, view(p.target), {}); }) ==
        doctest::Approx(reference(kOnes, kOnes)).epsilon(1e-12));
  CHECK(p.value([&](auto s, auto o) { return list_squared_error(s, o, view(p.target), view(p.weight)); }) ==
        doctest::Approx(reference(p.weight, kOnes)).epsilon(1e-12));
  CHECK(p.value([&](auto s, auto o) {
    return list_squared_error(s, o, view(p.target), view(p.weight), view(p.row_weight));
  }) == doctest::Approx(reference(p.weight, p.row_weight)).epsilon(1e-12));
}

TEST_CASE("margins of lists: half the mean over all pairs, and blind to a constant a row") {
  Problem p;
  const auto reference = [&](const Numbers& weight, const Numbers& row_weight) {
    return mean_of(p, row_weight, [&](const std::vector<size_t>& entries) {
      double sum = 0, total = 0;
      for (const size_t k : entries)
        for (const size_t l : entries) {
          const double w = weight[k] * weight[l];
          sum += w * std::pow((p.scores[k] - p.scores[l]) - (p.target[k] - p.target[l]), 2);
          total += w;
        }
      return sum / total / 2;
    });
  };
  const auto plain = [&](auto s, auto o) { return list_margin(s, o, view(p.target), {}); };
  const double before = p.value(plain);
  CHECK(before == doctest::Approx(reference(kOnes, kOnes)).epsilon(1e-12));
  CHECK(p.value([&](auto s, auto o) {
    return list_margin(s, o, view(p.target), view(p.weight), view(p.row_weight));
  }) == doctest::Approx(reference(p.weight, p.row_weight)).epsilon(1e-12));
  for (size_t k = 10; k < 30; ++k) p.target[k] += 3;
  CHECK(p.value(plain) == doctest::Approx(before).epsilon(1e-12));
}

TEST_CASE("KL of lists: between the softmax of targets and of scores, both corrected for how entries were drawn") {
  Problem p;
  const auto reference = [&](const Numbers& log_q) {
    return mean_of(p, kOnes, [&](const std::vector<size_t>& entries) {
      return kl(softmax(p.target, log_q, entries), softmax(p.scores, log_q, entries));
    });
  };
  CHECK(p.value([&](auto s, auto o) { return list_kl(s, o, view(p.target), {}); }) ==
        doctest::Approx(reference(kZeros)).epsilon(1e-12));
  CHECK(p.value([&](auto s, auto o) { return list_kl(s, o, view(p.target), view(p.log_q)); }) ==
        doctest::Approx(reference(p.log_q)).epsilon(1e-12));

  // Nothing is left to learn where the scores are the targets.
  for (size_t k = 0; k < 30; ++k)
    if (!std::isnan(p.target[k])) p.scores[k] = p.target[k] + 4;
  for (const double x : p.run([&](auto s, auto o) { return list_kl(s, o, view(p.target), view(p.log_q)); }))
    CHECK(std::abs(x) < 1e-14);

  // Probability 0 by a target of -inf: the entry still is in pi.
  p.offsets = {0, 2}, p.scores = {1, 0.5}, p.target = {0.3, -HUGE_VAL};
  CHECK(p.value([&](auto s, auto o) { return list_kl(s, o, view(p.target), {}); }) ==
        doctest::Approx(std::log(1 + std::exp(-0.5))).epsilon(1e-12));
}

TEST_CASE("expected reward of lists, less beta times the distance from the anchor") {
  const Problem p;
  const auto reference = [&](const Numbers& log_q, double beta) {
    return mean_of(p, kOnes, [&](const std::vector<size_t>& entries) {
      const Numbers pi = softmax(p.scores, log_q, entries), pi0 = softmax(p.anchor, log_q, entries);
      double expected = 0;
      for (size_t k = 0; k < entries.size(); ++k) expected += pi[k] * p.target[entries[k]];
      return beta * kl(pi, pi0) - expected;
    });
  };
  CHECK(p.value([&](auto s, auto o) { return list_reward(s, o, view(p.target), view(p.anchor), {}, 0); }) ==
        doctest::Approx(reference(kZeros, 0)).epsilon(1e-12));
  CHECK(p.value([&](auto s, auto o) {
    return list_reward(s, o, view(p.target), view(p.anchor), view(p.log_q), 0.7);
  }) == doctest::Approx(reference(p.log_q, 0.7)).epsilon(1e-12));
}

TEST_CASE("DPO of lists: each winner against all entries of lower value") {
  const Problem p;
  const double beta = 0.7;
  const auto reference = [&](size_t winners) {
    return mean_of(p, kOnes, [&](std::vector<size_t> entries) {
      std::stable_sort(entries.begin(), entries.end(), [&](size_t a, size_t b) { return p.target[a] > p.target[b]; });
      double loss = 0, counted = 0;
      for (size_t r = 0; r < std::min(winners, entries.size()); ++r) {
        const size_t w = entries[r];
        double sum = 0;
        for (const size_t k : entries)
          if (p.target[k] < p.target[w])
            sum += std::exp(beta * ((p.scores[k] - p.anchor[k]) - (p.scores[w] - p.anchor[w])));
        if (sum == 0) continue;
        const double sigmoid = 1 / (1 + std::exp(std::log(sum)));
        loss -= std::log(sigmoid);
        ++counted;
      }
      return loss / counted;  // NaN of none
    });
  };
  for (const int64_t winners : {1, 2, 4, 100})
    CHECK(p.value([&](auto s, auto o) { return list_dpo(s, o, view(p.target), view(p.anchor), beta, winners); }) ==
          doctest::Approx(reference(static_cast<size_t>(winners))).epsilon(1e-12));
}

TEST_CASE("what takes no part gets no gradient, and a batch of nothing has a loss of 0") {
  const std::vector<std::pair<std::string, std::function<Variable<double>(const Problem&, Variable<double>)>>> losses =
      {{"squared error",
        [](const auto& p, auto s) { return list_squared_error(s, view(p.offsets), view(p.target), {}); }},
       {"margin", [](const auto& p, auto s) { return list_margin(s, view(p.offsets), view(p.target), {}); }},
       {"kl", [](const auto& p, auto s) { return list_kl(s, view(p.offsets), view(p.target), {}); }},
       {"reward",
        [](const auto& p, auto s) { return list_reward(s, view(p.offsets), view(p.target), view(p.anchor), {}, 0.5); }},
       {"dpo",
        [](const auto& p, auto s) { return list_dpo(s, view(p.offsets), view(p.target), view(p.anchor), 0.5, 2); }}};
  for (const auto& [name, loss] : losses) {
    INFO(name);
    const auto run = [&, &call = loss](const Problem& p) {
      return p.run([&](Variable<double> s, Tensor<const int64_t>) { return call(p, s); });
    };
    // Its score may be anything, even no number.
    Problem p;
    const Numbers before = run(p);
    REQUIRE(std::isfinite(before[0]));
    for (size_t k = 0; k < 30; ++k)
      if (std::isnan(p.target[k])) {
        CHECK(before[1 + k] == 0);
        p.scores[k] = kNaN;
      }
    CHECK(run(p) == before);

    // Rows that do not count change nothing either: here they are gone.
    p = Problem();
    p.offsets = {0, 7, 8, 30};
    for (const size_t k : {8, 9}) p.target[k] = kNaN;
    CHECK(run(p) == before);

    // One entry: no order to learn, and no distribution.
    Problem one;
    one.offsets = {0, 1, 1}, one.scores = {0.5}, one.target = {2}, one.anchor = {1};
    const Numbers alone = run(one);
    const bool squared = name == "squared error";
    CHECK(alone[0] == (squared ? 2.25 : name == "reward" ? -2 : 0));
    CHECK(alone[1] == (squared ? -3 : 0));

    // Nothing but missing entries, no entries, no rows.
    Problem missing = one, no_entry, no_row;
    missing.target = {kNaN};
    no_entry.offsets = {0, 0, 0}, no_row.offsets = {0};
    for (Problem* nothing : {&no_entry, &no_row})
      nothing->scores.clear(), nothing->target.clear(), nothing->anchor.clear();
    CHECK(run(missing) == Numbers{0, 0});
    CHECK(run(no_entry) == Numbers{0});
    CHECK(run(no_row) == Numbers{0});
  }
}

TEST_CASE("weights of 0: rows and entries take no part") {
  const Problem p;
  Numbers weight(30, 1), row_weight = {1, 0, 1, 1, 0};
  for (size_t k = 0; k < 7; ++k) weight[k] = 0;
  const auto loss = [&](const Numbers& w, const Numbers& rows) {
    return p.run([&](auto s, auto o) { return list_squared_error(s, o, view(p.target), view(w), view(rows)); });
  };
  CHECK(loss(weight, row_weight) == Numbers(31, 0));
  const Numbers first = loss({}, {1, 0, 0, 0, 0}), half = loss({}, {0.5, 0, 0, 0, 0});
  CHECK(first[0] > 0);
  CHECK(first == half);
}
