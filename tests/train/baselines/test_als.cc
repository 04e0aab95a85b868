#include <doctest/doctest.h>
#include <twotower/train/baselines/als.h>
#include <twotower/train/baselines/als_ranker.h>

#define EIGEN_DONT_PARALLELIZE  // as in the sources, whose inline functions the linker shares
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <set>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;
using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// r of als.h, densely: value 1 for a click, 2 more for a like, added up over a user's training actions.
MatrixXd values_of(const Dataset& data) {
  MatrixXd r = MatrixXd::Zero(data.num_users(), data.num_items());
  const Impressions& log = data.split(Split::train);
  for (int64_t i = 0; i < log.size; ++i) r(log.user[i], log.item[i]) += log.labels[2 * i] + 2 * log.labels[2 * i + 1];
  return r;
}

// fitted(sweeps): a baseline after so many.
template <class Fitted>
void check_each_sweep_lowers(Fitted fitted) {
  double before = 1e300;
  for (int64_t sweeps = 1; sweeps <= 6; ++sweeps) {
    const double objective = fitted(sweeps).objective();
    CHECK(objective < before);
    before = objective;
  }
}

DatasetContent valued_content() {
  DatasetContent content = made_up_content(50, 40, 9);
  content.value_weights = {1, 2};
  return content;
}

}  // namespace

TEST_CASE("als: normal equations hold, the objective is the dense sum and falls, users are solved anew") {
  const TempFolder folder;
  const Dataset data = open_written(folder, valued_content());
  const MatrixXd r = values_of(data);
  const double alpha = 1.5, l2 = 0.7;
  const auto fitted = [&](int64_t sweeps) {
    BaselineOptions options;
    options.als = {.width = 5, .sweeps = sweeps, .alpha = alpha, .l2 = l2};
    Als als(options);
    als.fit(data);
    return als;
  };
  check_each_sweep_lowers(fitted);
  const Als als = fitted(6);
  const Eigen::Map<const RowMajor> x(als.user_factors().data(), 50, 5), y(als.item_factors().data(), 40, 5);
  const MatrixXd c = (1 + alpha * r.array()).matrix(), p = (r.array() > 0).cast<double>().matrix();
  const MatrixXd error = p - x * y.transpose();
  CHECK(als.objective() ==
        doctest::Approx((c.array() * error.array().square()).sum() + l2 * (x.squaredNorm() + y.squaredNorm())));
  // Items were solved last: the derivative by them is 0.
  const MatrixXd slope = (c.array() * error.array()).matrix().transpose() * x - l2 * y;
  CHECK(slope.cwiseAbs().maxCoeff() < 1e-8);

  const UserMoment user{7, 0};
  std::vector<float> found(40);
  als.score({&user, 1}, found.data());
  const MatrixXd a = y.transpose() * c.row(7).transpose().asDiagonal() * y + l2 * MatrixXd::Identity(5, 5);
  const VectorXd scores =
      y * a.ldlt().solve(y.transpose() * (c.row(7).array() * p.row(7).array()).matrix().transpose());
  for (int64_t i = 0; i < 40; ++i) CHECK(found[static_cast<size_t>(i)] == doctest::Approx(scores(i)).epsilon(1e-4));
  const UserMoment nobody{-1, 0};
  als.score({&nobody, 1}, found.data());
  CHECK(std::all_of(found.begin(), found.end(), [](float s) { return s == 0; }));
}

TEST_CASE("als_ranker: finds the ranker's own factors from a part of the pairs; the objective falls") {
  const TempFolder folder;
  DatasetContent content = made_up_content(50, 40, 20);
  content.value_weights = {1, 0};  // the second task's scores count for nothing
  content.train.ranker_scores.clear(), content.test.ranker_scores.clear();
  const Philox random(9);
  const auto logit = [&](int32_t u, int32_t i) {
    const auto normal = [&](int64_t at) { return random.normal(static_cast<uint64_t>(at)); };
    return 0.5 * (normal(u) * normal(100 + i) + normal(200 + u) * normal(300 + i)) + normal(400 + i) - 1;
  };
  for (InteractionColumns* split : {&content.train, &content.test})
    for (size_t n = 0; n < split->user.size(); ++n) {
      const double score = 1 / (1 + std::exp(-logit(split->user[n], split->item[n])));
      split->ranker_scores.insert(split->ranker_scores.end(), {static_cast<float>(score), 0.99f});
    }
  const Dataset data = open_written(folder, content);
  const auto fitted = [&](int64_t sweeps) {
    BaselineOptions options;
    options.als_ranker = {.width = 2, .sweeps = sweeps, .l2 = 0.01};
    AlsRanker als(options);
    als.fit(data);
    return als;
  };
  check_each_sweep_lowers(fitted);
  const AlsRanker als = fitted(60);
  const Impressions& test = data.split(Split::test);
  double error = 0, spread = 0, mean = 0;
  std::vector<double> off;
  std::vector<float> scores(40);
  for (int64_t n = 0; n < test.size; ++n) {
    const UserMoment user{test.user[n], 0};
    als.score({&user, 1}, scores.data());
    off.push_back(logit(test.user[n], test.item[n]) - static_cast<double>(scores[static_cast<size_t>(test.item[n])]));
    mean += off.back() / static_cast<double>(test.size);
    spread += std::pow(logit(test.user[n], test.item[n]) + 1, 2) / static_cast<double>(test.size);
  }
  for (const double o : off) error += (o - mean) * (o - mean) / static_cast<double>(test.size);
  CHECK(error < 0.15 * spread);  // of pairs that were never scored
  const UserMoment nobody{-1, 0};
  als.score({&nobody, 1}, scores.data());
  CHECK(std::set<float>(scores.begin(), scores.end()).size() > 20);  // the items' own part
}
