#include <twotower/tensor/gemm.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/baselines/als_ranker.h>
#include <twotower/train/baselines/matrices/sparse_rows.h>
#include <twotower/train/data/ranker_pairs.h>

#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace tt {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;

constexpr int64_t kItemTile = 2048;  // items scored at a time

// A row of targets a user, pairs that were scored twice twice.
SparseRows targets_of(const Dataset& data) {
  const Impressions& log = data.split(Split::train);
  const RankerPairs pairs = load_ranker_pairs(data);
  const std::vector<float>& weights = data.value_weights();
  const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
  const auto target = [&](const float* scores) {
    double sum = 0;
    for (size_t t = 0; t < weights.size(); ++t) {
      const double p = std::clamp(static_cast<double>(scores[t]), 1e-4, 1 - 1e-4);
      sum += static_cast<double>(weights[t]) * std::log(p / (1 - p));
    }
    return sum / all;
  };
  const int64_t tasks = data.num_tasks(), n = log.size + pairs.size();
  std::vector<double> targets(static_cast<size_t>(n));
  std::vector<int32_t> users(log.user, log.user + log.size), items(log.item, log.item + log.size);
  users.insert(users.end(), pairs.user.begin(), pairs.user.end());
  items.insert(items.end(), pairs.item.begin(), pairs.item.end());
  for (int64_t i = 0; i < n; ++i)
    targets[static_cast<size_t>(i)] =
        target(i < log.size ? log.ranker_scores + i * tasks : pairs.scores.data() + (i - log.size) * tasks);
  const double mean = std::accumulate(targets.begin(), targets.end(), 0.0) / static_cast<double>(n);

  SparseRows out;
  out.offsets.assign(static_cast<size_t>(data.num_users()) + 1, 0);
  for (const int32_t u : users) ++out.offsets[static_cast<size_t>(u) + 1];
  for (size_t u = 0; u + 1 < out.offsets.size(); ++u) out.offsets[u + 1] += out.offsets[u];
  out.entries.resize(static_cast<size_t>(n));
  std::vector<int64_t> next(out.offsets.begin(), out.offsets.end() - 1);
  for (size_t i = 0; i < targets.size(); ++i)
    out.entries[static_cast<size_t>(next[static_cast<size_t>(users[i])]++)] = {items[i],
                                                                               static_cast<float>(targets[i] - mean)};
  return out;
}

// The least squares of each row's targets on the first `fitted` numbers of the columns' vectors; what the rest of them
// give with the row's own is taken off the targets.
void solve_rows(const SparseRows& rows, const Matrix& columns, int64_t fitted, double l2, Matrix& out) {
  const int64_t rest = columns.cols() - fitted;
  parallel_for(0, rows.rows(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Matrix a = Matrix::Identity(fitted, fitted) * l2;
      Vector b = Vector::Zero(fitted);
      for (const auto& [column, target] : rows.row(i)) {
        const Vector v = columns.row(column).head(fitted).transpose();
        const double given = rest > 0 ? columns.row(column).tail(rest).dot(out.row(i).tail(rest)) : 0;
        a.selfadjointView<Eigen::Lower>().rankUpdate(v);
        b += (static_cast<double>(target) - given) * v;
      }
      out.row(i).head(fitted) = a.selfadjointView<Eigen::Lower>().llt().solve(b).transpose();
    }
  });
}

}  // namespace

void AlsRanker::fit(const Dataset& data) {
  const auto& [width, sweeps, l2] = options_.als_ranker;
  items_ = data.num_items();
  const SparseRows by_user = targets_of(data), by_item = transpose(by_user, items_);
  Matrix x = Matrix::Zero(data.num_users(), width + 1), y(items_, width + 1);
  x.col(width).setOnes();
  Philox(1).fill_normal(y.data(), y.size(), 0.0, 0.1);
  for (int64_t sweep = 0; sweep < sweeps; ++sweep) {
    solve_rows(by_user, y, width, l2, x);
    solve_rows(by_item, x, width + 1, l2, y);
  }
  objective_ = l2 * (x.leftCols(width).squaredNorm() + y.squaredNorm());
  for (int64_t u = 0; u < by_user.rows(); ++u)
    for (const auto& [item, target] : by_user.row(u))
      objective_ += std::pow(static_cast<double>(target) - x.row(u).dot(y.row(item)), 2);
  x_.assign(x.data(), x.data() + x.size());
  y_.assign(y.data(), y.data() + y.size());
}

void AlsRanker::score(std::span<const UserMoment> users, float* out) const {
  const int64_t d = options_.als_ranker.width + 1;
  const auto n = static_cast<int64_t>(users.size());
  std::vector<float> x(static_cast<size_t>(n * d), 0);
  for (int64_t q = 0; q < n; ++q) {
    const int64_t user = users[static_cast<size_t>(q)].user;
    if (user >= 0) std::copy_n(x_.begin() + user * d, d, x.begin() + q * d);
    x[static_cast<size_t>(q * d + d - 1)] = 1;
  }
  parallel_for(0, items_, kItemTile, [&](int64_t begin, int64_t end) {
    gemm(false, true, n, end - begin, d, 1.0f, x.data(), d, y_.data() + begin * d, d, 0.0f, out + begin, items_);
  });
}

}  // namespace tt
