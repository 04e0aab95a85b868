#include <twotower/tensor/gemm.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/baselines/als.h>

#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Cholesky>
#include <algorithm>

namespace tt {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;
using Rows = Eigen::Map<const Matrix>;
using Row = Eigen::Map<const Vector>;

constexpr int64_t kChunk = 4096;     // rows of a gram matrix summed at a time
constexpr int64_t kItemTile = 2048;  // items scored at a time

// factors^T factors, the same for any number of threads.
std::vector<double> gram(const std::vector<double>& factors, int64_t width) {
  const int64_t rows = static_cast<int64_t>(factors.size()) / width;
  std::vector<Matrix> parts(static_cast<size_t>((rows + kChunk - 1) / kChunk));
  parallel_for(0, rows, kChunk, [&](int64_t begin, int64_t end) {
    const Rows part(factors.data() + begin * width, end - begin, width);
    parts[static_cast<size_t>(begin / kChunk)].noalias() = part.transpose() * part;
  });
  std::vector<double> out(static_cast<size_t>(width * width), 0);
  for (const Matrix& part : parts)
    for (size_t i = 0; i < out.size(); ++i) out[i] += part.data()[i];
  return out;
}

struct Solver {
  const std::vector<double>& other;  // factors of the other side
  const std::vector<double>& gram;   // of these
  int64_t width;
  double alpha, l2;

  // (Y^T Y + alpha sum r y y^T + l2 I) x = sum (1 + alpha r) y, sums over the entries, r their values.
  void solve(std::span<const SparseRows::Entry> entries, double* x) const {
    Matrix a = Rows(gram.data(), width, width);
    a.diagonal().array() += l2;
    Vector b = Vector::Zero(width);
    for (const auto& [column, r] : entries) {
      const Row y(other.data() + column * width, width);
      const double more = alpha * static_cast<double>(r);
      a.selfadjointView<Eigen::Lower>().rankUpdate(y, more);
      b += (1 + more) * y;
    }
    Eigen::Map<Vector>(x, width) = a.selfadjointView<Eigen::Lower>().llt().solve(b);
  }

  void solve_all(const SparseRows& rows, std::vector<double>& out) const {
    parallel_for(0, rows.rows(), 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) solve(rows.row(i), out.data() + i * width);
    });
  }
};

// The items of value among the first `count` actions of a user, with their values.
std::vector<SparseRows::Entry> values_of(const Dataset& data, int64_t user, int64_t count, RowSum& sum) {
  const int64_t kinds = data.num_actions(), first = user < 0 ? 0 : data.history_offsets()[user];
  for (int64_t at = first; at < first + count; ++at) {
    double value = 0;
    for (int64_t t = 0; t < kinds; ++t)
      if (data.history_actions()[at * kinds + t])
        value += static_cast<double>(data.value_weights()[static_cast<size_t>(t)]);
    if (value > 0) sum.add(data.history_items()[at], value);
  }
  return sum.take();
}

}  // namespace

void Als::fit(const Dataset& data) {
  data_ = &data;
  known_.emplace(data);
  const auto& [width, sweeps, alpha, l2] = options_.als;
  by_user_ = make_rows(data.num_users(), data.num_items(), [&](int64_t u, RowSum& sum) {
    return values_of(data, u, static_cast<int64_t>(known_->in_train(u).size()), sum);
  });
  const SparseRows by_item = transpose(by_user_, data.num_items());
  x_.assign(static_cast<size_t>(data.num_users() * width), 0);
  y_.resize(static_cast<size_t>(data.num_items() * width));
  Philox(1).fill_normal(y_.data(), static_cast<int64_t>(y_.size()), 0.0, 0.1);
  for (int64_t sweep = 0; sweep < sweeps; ++sweep) {
    const std::vector<double> gram_y = gram(y_, width);
    Solver{y_, gram_y, width, alpha, l2}.solve_all(by_user_, x_);
    const std::vector<double> gram_x = gram(x_, width);
    Solver{x_, gram_x, width, alpha, l2}.solve_all(by_item, y_);
  }
  gram_y_ = gram(y_, width);
  items_.assign(y_.begin(), y_.end());
}

void Als::score(std::span<const UserMoment> users, float* out) const {
  const auto n = static_cast<int64_t>(users.size());
  const auto& [width, sweeps, alpha, l2] = options_.als;
  const int64_t items = data_->num_items();
  std::vector<float> x(static_cast<size_t>(n * width));
  const Solver solver{y_, gram_y_, width, alpha, l2};
  parallel_for(0, n, 16, [&, width = width](int64_t begin, int64_t end) {
    RowSum sum(items);
    std::vector<double> one(static_cast<size_t>(width));
    for (int64_t q = begin; q < end; ++q) {
      const UserMoment& user = users[static_cast<size_t>(q)];
      solver.solve(values_of(*data_, user.user, known_->count(user), sum), one.data());
      std::copy(one.begin(), one.end(), x.begin() + q * width);
    }
  });
  parallel_for(0, items, kItemTile, [&, width = width](int64_t begin, int64_t end) {
    gemm(false, true, n, end - begin, width, 1.0f, x.data(), width, items_.data() + begin * width, width, 0.0f,
         out + begin, items);
  });
}

// The squares of all pairs are those of the gram matrices; the pairs with a value are put right one by one.
double Als::objective() const {
  const auto& [width, sweeps, alpha, l2] = options_.als;
  const std::vector<double> gram_x = gram(x_, width);
  double sum = 0;
  for (size_t i = 0; i < gram_x.size(); ++i) sum += gram_x[i] * gram_y_[i];
  for (int64_t i = 0; i < width; ++i)
    sum += l2 * (gram_x[static_cast<size_t>(i * width + i)] + gram_y_[static_cast<size_t>(i * width + i)]);
  for (int64_t u = 0; u < by_user_.rows(); ++u)
    for (const auto& [item, r] : by_user_.row(u)) {
      const double s = Row(x_.data() + u * width, width).dot(Row(y_.data() + item * width, width));
      sum += (1 + alpha * static_cast<double>(r)) * (1 - s) * (1 - s) - s * s;
    }
  return sum;
}

}  // namespace tt
