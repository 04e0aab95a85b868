// Rows with several positives: the same loss and gradients as as many rows with one positive each.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/losses/retrieval_losses.h>
#include <twotower/tensor/random.h>

#include <cmath>
#include <vector>

using namespace tt;

namespace {

constexpr int64_t kRows = 70, kColumns = 93, kWidth = 12;

template <class T>
Tensor<T> normals(Pool& pool, const Shape& shape, uint64_t stream) {
  const Tensor<T> x = make_tensor<T>(pool, shape);
  const Philox random(31, stream);
  for (int64_t i = 0; i < x.numel(); ++i)
    x[i] = static_cast<T>(static_cast<float>(0.6 * random.normal(static_cast<uint64_t>(i))));
  return x;
}

// Row i has 1 + i % 5 positives.
struct Lists {
  Lists() {
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t k = 0; k <= i % 5; ++k) columns.push_back(static_cast<int32_t>((i + 17 * k) % kColumns));
      offsets.push_back(static_cast<int64_t>(columns.size()));
    }
  }
  Positives view() const {
    return {{offsets.data(), {kRows + 1}}, {columns.data(), {static_cast<int64_t>(columns.size())}}};
  }
  std::vector<int64_t> offsets = {0};
  std::vector<int32_t> columns;
};

template <class T>
struct Result {
  double loss, dtau;
  std::vector<double> du, dv;
};

// As rows with several positives, or (spread) with a row for each of them, which weighs 1 / n_i.
template <class T>
Result<T> run(const Lists& lists, bool log_q, bool compete, bool spread) {
  Pool pool;
  Arena arena;
  Tape<T> tape(arena);
  const Tensor<T> u = normals<T>(pool, {kRows, kWidth}, 1), v = normals<T>(pool, {kColumns, kWidth}, 2);
  const Tensor<T> weight = normals<T>(pool, {kRows}, 3), tau = make_tensor<T>(pool, {1});
  tau[0] = T(0.7);
  Candidates<T> c;
  if (log_q) c.log_q = normals<T>(pool, {kColumns}, 4);
  const auto n = static_cast<int64_t>(lists.columns.size());
  std::vector<int64_t> row_of, target(lists.columns.begin(), lists.columns.end());
  for (int64_t i = 0; i < kRows; ++i) row_of.resize(static_cast<size_t>(lists.offsets[static_cast<size_t>(i) + 1]), i);
  const Tensor<T> all_u = make_tensor<T>(pool, {n, kWidth}), all_weight = make_tensor<T>(pool, {n});
  for (int64_t k = 0; k < n; ++k) {
    const int64_t i = row_of[static_cast<size_t>(k)];
    std::copy_n(u.row(i), kWidth, all_u.row(k));
    const auto positives =
        static_cast<T>(lists.offsets[static_cast<size_t>(i) + 1] - lists.offsets[static_cast<size_t>(i)]);
    all_weight[k] = weight[i] / positives * static_cast<T>(n) / static_cast<T>(kRows);
  }
  std::vector<int64_t> offsets = {0};
  std::vector<int32_t> others;
  for (const int64_t i : row_of) {
    for (int64_t k = lists.offsets[static_cast<size_t>(i)]; k < lists.offsets[static_cast<size_t>(i) + 1]; ++k)
      others.push_back(lists.columns[static_cast<size_t>(k)]);
    offsets.push_back(static_cast<int64_t>(others.size()));
  }
  if (spread) {
    c.target = {target.data(), {n}};
    if (!compete) c.exclude = {{offsets.data(), {n + 1}}, {others.data(), {static_cast<int64_t>(others.size())}}};
  } else {
    c.positives = lists.view();
    c.positives.compete = compete;
  }
  const Variable<T> x = tape.variable(spread ? all_u : u), y = tape.variable(v), t = tape.variable(tau);
  const Variable<T> loss = in_batch_softmax(x, y, t, tape.constant(spread ? all_weight : weight), c);
  const Gradients<T> gradients = tape.backward(loss);
  Result<T> r{static_cast<double>(loss.item()), static_cast<double>(gradients.of(t)[0]), {}, {}};
  r.du.resize(static_cast<size_t>(kRows * kWidth));
  for (int64_t k = 0; k < x.rows(); ++k)
    for (int64_t d = 0; d < kWidth; ++d)
      r.du[static_cast<size_t>((spread ? row_of[static_cast<size_t>(k)] : k) * kWidth + d)] +=
          static_cast<double>(gradients.of(x).row(k)[d]);
  for (const T g : gradients.of(y)) r.dv.push_back(static_cast<double>(g));
  return r;
}

double worst(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

}  // namespace

TEST_CASE("several positives a row: as many rows with one each") {
  const Lists lists;
  for (const int options : {0, 1, 2, 3}) {
    const bool log_q = options % 2 > 0, compete = options < 2;
    INFO("log_q ", log_q, ", compete ", compete);
    const auto want = run<double>(lists, log_q, compete, true), exact = run<double>(lists, log_q, compete, false);
    CHECK(exact.loss == doctest::Approx(want.loss).epsilon(1e-12));
    CHECK(exact.dtau == doctest::Approx(want.dtau).epsilon(1e-10));
    CHECK(worst(exact.du, want.du) < 1e-12);
    CHECK(worst(exact.dv, want.dv) < 1e-12);
    const auto single = run<float>(lists, log_q, compete, false);
    CHECK(single.loss == doctest::Approx(want.loss).epsilon(1e-5));
    CHECK(single.dtau == doctest::Approx(want.dtau).epsilon(1e-4));
    CHECK(worst(single.du, want.du) < 1e-5);
    CHECK(worst(single.dv, want.dv) < 1e-5);
  }
}

TEST_CASE("several positives a row: lists that do not fit are refused") {
  Pool pool;
  Arena arena;
  Tape<double> tape(arena);
  const Variable<double> u = tape.constant(normals<double>(pool, {2, 3}, 1)),
                         v = tape.constant(normals<double>(pool, {4, 3}, 2)),
                         w = tape.constant(normals<double>(pool, {2}, 3));
  const auto message = [&](const std::vector<int64_t>& offsets, const std::vector<int32_t>& columns, int64_t hard) {
    Candidates<double> c;
    c.positives = {{offsets.data(), {static_cast<int64_t>(offsets.size())}},
                   {columns.data(), {static_cast<int64_t>(columns.size())}}};
    c.hard_negatives = hard;
    try {
      in_batch_softmax(u, v, tape.scalar(1), w, c);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(message({0, 1, 3}, {2, 0, 3}, 0) == "");
  CHECK(message({0, 1}, {2}, 0) == "[in_batch_softmax] positives for 1 rows, the batch has 2");
  CHECK(message({0, 2, 2}, {2, 1}, 0) == "[in_batch_softmax] row 1 has no positive column");
  CHECK(message({0, 1, 2}, {2, 4}, 0) == "[in_batch_softmax] positives: column 4; the columns are 0 to 3");
  CHECK(message({0, 1, 2}, {2, 3}, 1) ==
        "[in_batch_softmax] rows with several positives take no targets, exclusions, hard negatives or "
        "uncorrected "
        "positives");
}
