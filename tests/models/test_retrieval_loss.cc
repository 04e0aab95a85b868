// The fused losses over all pairs of a batch, against the same from unfused ops or plain loops; shapes of
// several panels, in float and double.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/losses/alignment_losses.h>
#include <twotower/autograd/ops/losses/cross_entropy.h>
#include <twotower/autograd/ops/losses/retrieval_losses.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/models/batch.h>
#include <twotower/tensor/random.h>

#include <cmath>
#include <set>

#include "tests/models/reference_loss.h"

using namespace tt;

namespace {

constexpr int64_t kRows = 70, kColumns = 93, kWidth = 12;

template <class T>
Tensor<T> normals(Pool& pool, const Shape& shape, uint64_t stream, double scale = 1) {
  const Tensor<T> x = make_tensor<T>(pool, shape);
  const Philox random(21, stream);
  for (int64_t i = 0; i < x.numel(); ++i)
    x[i] = static_cast<T>(static_cast<float>(scale * random.normal(static_cast<uint64_t>(i))));
  return x;
}

// What a loss needs, the same numbers in float and double.
template <class T>
struct Problem {
  Problem() {
    u = normals<T>(pool, {kRows, kWidth}, 1, 0.6), v = normals<T>(pool, {kColumns, kWidth}, 2, 0.6);
    tau = make_tensor<T>(pool, {1});
    tau[0] = T(0.75);
    weight = normals<T>(pool, {kRows}, 3);
    for (T& w : weight) w = std::abs(w);
    log_q = normals<T>(pool, {kColumns}, 4);
    column_value = normals<T>(pool, {kColumns}, 5);
    u0 = normals<T>(pool, {kRows, kWidth}, 6, 0.6), v0 = normals<T>(pool, {kColumns, kWidth}, 7, 0.6);
    for (int64_t i = 0; i < kRows; ++i) {
      exclude_offsets.push_back(static_cast<int64_t>(exclude_columns.size()));
      for (int64_t j = i % 3; j < kColumns; j += 17)
        if (j != i) exclude_columns.push_back(static_cast<int32_t>(j));
      targets.push_back((i * 5 + 2) % kColumns);
    }
    exclude_offsets.push_back(static_cast<int64_t>(exclude_columns.size()));
  }
  Exclusions exclusions() const {
    return {{exclude_offsets.data(), {kRows + 1}},
            {exclude_columns.data(), {static_cast<int64_t>(exclude_columns.size())}}};
  }
  Pool pool;
  Tensor<T> u, v, tau, weight, log_q, column_value, u0, v0;
  std::vector<int64_t> exclude_offsets, targets;
  std::vector<int32_t> exclude_columns;
};

struct Options {
  bool log_q, uncorrected, exclude, targets;
  int64_t hard;
};

template <class T>
Candidates<T> candidates(const Problem<T>& p, const Options& o) {
  Candidates<T> c;
  if (o.log_q) c.log_q = p.log_q;
  c.positive_uncorrected = o.uncorrected;
  if (o.exclude) c.exclude = p.exclusions();
  if (o.targets) c.target = {p.targets.data(), {kRows}};
  c.hard_negatives = o.hard;
  return c;
}

// The loss, then dL/d{u, v, tau, weight}, for an upstream gradient of 1.3.
template <class T, class Loss>
std::vector<double> run(const Problem<T>& p, Loss loss) {
  Arena arena;
  Tape<T> tape(arena);
  const Variable<T> inputs[] = {tape.variable(p.u), tape.variable(p.v), tape.variable(p.tau), tape.variable(p.weight)};
  const Variable<T> y = loss(tape, inputs);
  const Gradients<T> gradients = tape.backward(scale(y, T(1.3)));
  std::vector<double> numbers = {static_cast<double>(y.item())};
  for (const Variable<T>& x : inputs)
    for (const T g : gradients.of(x)) numbers.push_back(static_cast<double>(g));
  return numbers;
}

template <class T>
std::vector<double> fused(const Problem<T>& p, const Options& o) {
  return run<T>(
      p, [&](Tape<T>&, const Variable<T>* x) { return in_batch_softmax(x[0], x[1], x[2], x[3], candidates(p, o)); });
}

template <class T>
std::vector<double> unfused(const Problem<T>& p, const Options& o) {
  std::vector<int64_t> targets = p.targets;
  if (!o.targets)
    for (int64_t i = 0; i < kRows; ++i) targets[static_cast<size_t>(i)] = i;
  return run<T>(p, [&](Tape<T>&, const Variable<T>* x) {
    const Variable<T> scores = candidate_scores(matmul(x[0], x[1], true), x[2], candidates(p, o));
    return mean(multiply(x[3], cross_entropy(scores, Tensor<const int64_t>(targets.data(), {kRows}))));
  });
}

double worst_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(a[i] - b[i]) / (1 + std::abs(b[i]));
    worst = error <= worst ? worst : error;
  }
  return worst;
}

double kl_divergence(const std::vector<double>& log_p, const std::vector<double>& log_q) {
  double sum = 0;
  for (size_t j = 0; j < log_p.size(); ++j)
    if (log_p[j] != testing::kOut) sum += std::exp(log_p[j]) * (log_p[j] - log_q[j]);
  return sum;
}

// The three alignment losses by their definitions, each row's scores and values in full.
double brute_alignment(const Problem<double>& p, const std::string& kind, double beta, int64_t strides, bool exclude) {
  double total = 0;
  for (int64_t i = 0; i < kRows; ++i) {
    std::set<int64_t> out;
    for (int64_t e = p.exclude_offsets[static_cast<size_t>(i)];
         exclude && e < p.exclude_offsets[static_cast<size_t>(i) + 1]; ++e)
      out.insert(p.exclude_columns[static_cast<size_t>(e)]);
    std::vector<double> s, s0, value;
    for (int64_t j = 0; j < kColumns; ++j) {
      double dot = 0, dot0 = 0;
      for (int64_t k = 0; k < kWidth; ++k)
        dot += p.u.row(i)[k] * p.v.row(j)[k], dot0 += p.u0.row(i)[k] * p.v0.row(j)[k];
      const bool in = out.count(j) == 0;
      s.push_back(in ? dot / p.tau[0] : testing::kOut);
      s0.push_back(in ? dot0 / 1.2 : testing::kOut);
      value.push_back(in ? p.column_value[j] + 0.8 * dot : testing::kOut);
    }
    const auto log_pi = testing::log_softmax(s), log_pi0 = testing::log_softmax(s0);
    if (kind == "kl") {
      total += kl_divergence(testing::log_softmax(value), log_pi);
    } else if (kind == "expected_reward") {
      double reward = 0;
      for (size_t j = 0; j < s.size(); ++j)
        if (s[j] != testing::kOut) reward += std::exp(log_pi[j]) * value[j];
      total -= reward - beta * kl_divergence(log_pi, log_pi0);
    } else {
      double sum = 0, pairs = 0;
      for (int64_t stride = 1; stride <= strides; ++stride)
        for (int64_t a = 0; a < kColumns; ++a) {
          auto j = static_cast<size_t>(a), k = static_cast<size_t>((a + stride) % kColumns);
          if (value[j] == testing::kOut || value[k] == testing::kOut || value[j] == value[k]) continue;
          if (value[j] < value[k]) std::swap(j, k);
          sum += std::log1p(std::exp(-beta * ((log_pi[j] - log_pi0[j]) - (log_pi[k] - log_pi0[k]))));
          ++pairs;
        }
      total += sum / pairs;
    }
  }
  return total / static_cast<double>(kRows);
}

template <class T>
std::vector<double> alignment(const Problem<T>& p, const std::string& kind, T beta, int64_t strides, bool exclude) {
  const PairValue<T> value{p.column_value, T(0.8), exclude ? p.exclusions() : Exclusions{}};
  const Anchor<T> anchor{p.u0, p.v0, T(1.2)};
  return run<T>(p, [&](Tape<T>&, const Variable<T>* x) {
    if (kind == "kl") return alignment_kl(x[0], x[1], x[2], value);
    if (kind == "expected_reward") return alignment_reward(x[0], x[1], x[2], value, anchor, beta);
    return alignment_dpo(x[0], x[1], x[2], value, anchor, beta, strides);
  });
}

}  // namespace

TEST_CASE("in-batch softmax: fused equals unfused, in float and double") {
  const Problem<double> exact;
  const Problem<float> single;
  for (const bool log_q : {false, true})
    for (const bool uncorrected : {false, true})
      for (const bool exclude : {false, true})
        for (const bool targets : {false, true})
          for (const int64_t hard : {0, 1, 7, 1000}) {
            if (exclude && targets) continue;  // the exclusions here may name such a target
            const Options o{log_q, uncorrected, exclude, targets, hard};
            INFO("log_q ", log_q, ", uncorrected ", uncorrected, ", exclude ", exclude, ", targets ", targets,
                 ", hard ", hard);
            const auto reference = unfused(exact, o);
            CHECK(worst_difference(fused(exact, o), reference) < 1e-12);
            CHECK(worst_difference(fused(single, o), reference) < 2e-5);
            CHECK(worst_difference(unfused(single, o), reference) < 2e-5);
          }
}

TEST_CASE("in-batch softmax: a row whose negatives are all left out costs nothing") {
  Pool pool;
  const Tensor<double> u = normals<double>(pool, {2, 3}, 1), v = normals<double>(pool, {2, 3}, 2);
  const std::vector<int64_t> offsets = {0, 1, 2};
  const std::vector<int32_t> columns = {1, 0};
  Arena arena;
  Tape<double> tape(arena);
  Candidates<double> c;
  c.exclude = {{offsets.data(), {3}}, {columns.data(), {2}}};
  const Tensor<double> one = make_tensor<double>(pool, {2});
  one.fill(1);
  const Variable<double> x = tape.variable(u);
  const Variable<double> y = in_batch_softmax(x, tape.variable(v), tape.scalar(1), tape.constant(one), c);
  CHECK(y.item() == 0);
  const Gradients<double> gradients = tape.backward(y);
  for (const double g : gradients.of(x)) CHECK(g == 0);
}

// What the log Q correction is for: with columns drawn by Q, the sampled gradient is the full softmax's on
// average.
TEST_CASE("log Q: the sampled softmax's normaliser is the corpus's on average") {
  constexpr int64_t corpus = 20, draws = 20000;
  const Philox random(4);
  std::vector<double> q(corpus), score(corpus);
  double total = 0, full = 0;
  for (size_t j = 0; j < corpus; ++j) total += q[j] = 1.0 / (1.0 + static_cast<double>(j));
  for (size_t j = 0; j < corpus; ++j) full += std::exp(score[j] = random.normal(j));
  Pool pool;
  const Tensor<double> u = make_tensor<double>(pool, {1, 1}), v = make_tensor<double>(pool, {draws + 1, 1});
  const Tensor<double> log_q = make_tensor<double>(pool, {draws + 1}), one = make_tensor<double>(pool, {1});
  u[0] = one[0] = 1;
  v[0] = score[7], log_q[0] = 40;  // the positive's own column weighs nothing beside the draws
  for (int64_t i = 1; i <= draws; ++i) {
    double at = random.uniform(1000 + static_cast<uint64_t>(i)) * total;
    size_t j = 0;
    while (j + 1 < corpus && at >= q[j]) at -= q[j++];
    v[i] = score[j], log_q[i] = std::log(q[j] / total * draws);
  }
  Arena arena;
  Tape<double> tape(arena);
  Candidates<double> c;
  c.log_q = log_q;
  const double loss =
      in_batch_softmax(tape.constant(u), tape.constant(v), tape.scalar(1), tape.constant(one), c).item();
  CHECK(loss - 40 == doctest::Approx(std::log(full) - score[7]).epsilon(0.02));
}

TEST_CASE("accidental hits: as a search through all pairs finds them") {
  const Philox random(6);
  for (uint64_t trial = 0; trial < 60; ++trial) {
    const auto b = static_cast<int64_t>(1 + random.below(trial * 1000, 40)),
               further = static_cast<int64_t>(random.below(trial * 1000 + 1, 20));
    std::vector<int64_t> users, items;
    std::vector<uint8_t> acted;  // in some trials everyone acted on everything, or nobody on anything
    for (int64_t i = 0; i < b + further; ++i) {
      const auto at = trial * 1000 + 2 * static_cast<uint64_t>(i) + 10;
      if (i < b) {
        users.push_back(trial % 7 == 0 ? -1
                                       : static_cast<int64_t>(random.below(at, 12)) - 1);  // -1: never the same user
        acted.push_back(random.below(at + 500, 2) < trial % 3);
      }
      items.push_back(static_cast<int64_t>(random.below(at + 1, 15)) - 1);  // -1: one more item
    }
    Arena arena;
    const Exclusions found = accidental_hits({users.data(), {b}}, {items.data(), {b}}, {acted.data(), {b}},
                                             {items.data() + b, {further}}, arena);
    REQUIRE(found.offsets.numel() == b + 1);
    for (int64_t i = 0; i < b; ++i) {
      std::multiset<int64_t> expected, got;
      for (int64_t j = 0; j < b + further; ++j) {
        bool hit = false;
        for (int64_t r = 0; r < b; ++r) {
          const auto row = static_cast<size_t>(r), self = static_cast<size_t>(i);
          const bool same_user = r == i || (users[row] == users[self] && users[self] >= 0 && acted[row] != 0);
          hit |= same_user && items[row] == items[static_cast<size_t>(j)];
        }
        if (hit && j != i) expected.insert(j);
      }
      for (int64_t e = found.offsets[i]; e < found.offsets[i + 1]; ++e) got.insert(found.columns[e]);
      CHECK(got == expected);  // each once
    }
  }
}

TEST_CASE("accidental hits: what a user was shown and let pass stays among the negatives") {
  const int64_t users[] = {7, 7, 7}, items[] = {0, 1, 2}, further[] = {1, 2, 0};
  const uint8_t acted[] = {1, 0, 1};
  Arena arena;
  const Exclusions found = accidental_hits({users, {3}}, {items, {3}}, {acted, {3}}, {further, {3}}, arena);
  const auto row = [&](int64_t i) {
    return std::set<int32_t>(found.columns.data() + found.offsets[i], found.columns.data() + found.offsets[i + 1]);
  };
  CHECK(row(0) == std::set<int32_t>{2, 4, 5});        // item 1, in columns 1 and 3, is what this user passed over
  CHECK(row(1) == std::set<int32_t>{0, 2, 3, 4, 5});  // its own row leaves it out like any row its own item
  CHECK(row(2) == std::set<int32_t>{0, 4, 5});
}

TEST_CASE("accidental hits: a batch of unknown users only") {
  const std::vector<int64_t> users(200, -1);
  std::vector<int64_t> items(200);
  for (size_t i = 0; i < items.size(); ++i) items[i] = static_cast<int64_t>(i % 150);
  Arena arena;
  const Exclusions found = accidental_hits({users.data(), {200}}, {items.data(), {200}}, {}, {}, arena);
  CHECK(found.offsets[200] == 100);  // items 0 to 49 come twice
}

TEST_CASE("alignment losses: as their definitions have them, in float and double") {
  const Problem<double> exact;
  const Problem<float> single;
  for (const char* kind : {"kl", "expected_reward", "dpo"})
    for (const bool exclude : {false, true})
      for (const int64_t strides : {int64_t{1}, int64_t{8}, kColumns - 1}) {
        INFO(kind, ", exclude ", exclude, ", strides ", strides);
        const auto found = alignment<double>(exact, kind, 0.4, strides, exclude);
        CHECK(found[0] == doctest::Approx(brute_alignment(exact, kind, 0.4, strides, exclude)).epsilon(1e-10));
        CHECK(worst_difference(alignment<float>(single, kind, 0.4f, strides, exclude), found) < 2e-5);
      }
}

TEST_CASE("alignment: an anchor at the policy itself has no pull") {
  Problem<double> p;
  const PairValue<double> none{p.column_value, 0, {}};
  const Anchor<double> self{p.u, p.v, p.tau[0]};
  const auto reward = [&](double beta) {
    return run<double>(p, [&](Tape<double>&, const Variable<double>* x) {
      return alignment_reward(x[0], x[1], x[2], none, self, beta);
    });
  };
  CHECK(worst_difference(reward(0), reward(5)) < 1e-12);
}

TEST_CASE("in-batch softmax: sizes that do not fit are refused") {
  Pool pool;
  Arena arena;
  Tape<double> tape(arena);
  const auto m = [&](int64_t rows, int64_t cols) { return tape.constant(normals<double>(pool, {rows, cols}, 1)); };
  const auto message = [&](Variable<double> u, Variable<double> v, double tau, Variable<double> w) {
    try {
      in_batch_softmax(u, v, tape.scalar(tau), w, Candidates<double>{});
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(message(m(2, 3), m(2, 4), 1, m(2, 1)) ==
        "[in_batch_softmax] user vectors [2, 3] and item vectors [2, 4] must have the same width");
  CHECK(message(m(3, 3), m(2, 3), 1, m(3, 1)) == "[in_batch_softmax] 2 item columns for 3 users");
  CHECK(message(m(2, 3), m(2, 3), 1, m(3, 1)) == "[in_batch_softmax] 3 weights for 2 rows");
  CHECK(message(m(2, 3), m(2, 3), 0, m(2, 1)) == "[in_batch_softmax] the temperature is 0; it must be positive");
}
