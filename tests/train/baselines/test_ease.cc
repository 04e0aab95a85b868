#include <doctest/doctest.h>
#include <twotower/train/baselines/ease.h>
#include <twotower/train/baselines/matrices/symmetric_inverse.h>

#define EIGEN_DONT_PARALLELIZE  // as in the sources, whose inline functions the linker shares
#include <Eigen/Dense>
#include <algorithm>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;
using Eigen::MatrixXd;

TEST_CASE("symmetric inverse: as the dense one, from the lower triangle alone, for whole and broken blocks") {
  for (const int64_t n : {1, 5, 128, 300, 517}) {
    const Philox random(static_cast<uint64_t>(n));
    MatrixXd x(2 * n, n);
    for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = random.normal(static_cast<uint64_t>(i));
    const MatrixXd a = x.transpose() * x / static_cast<double>(n) + MatrixXd::Identity(n, n), inverse = a.inverse();
    std::vector<float> in_place(static_cast<size_t>(n * n), 99);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j <= i; ++j) in_place[static_cast<size_t>(i * n + j)] = static_cast<float>(a(i, j));
    invert_symmetric(in_place.data(), n);
    double worst = 0;
    bool symmetric = true;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const float found = in_place[static_cast<size_t>(i * n + j)];
        worst = std::max(worst, std::abs(static_cast<double>(found) - inverse(i, j)));
        symmetric &= found == in_place[static_cast<size_t>(j * n + i)];
      }
    INFO("n ", n);
    CHECK(worst < 1e-6);
    CHECK(symmetric);
  }
  std::vector<float> indefinite = {1, 2, 2, 1};
  CHECK(error_of([&] { invert_symmetric(indefinite.data(), 2); }) ==
        "[symmetric_inverse] the matrix is not positive definite in floats; raise ease.l2");
}

TEST_CASE("ease: the closed form, computed densely") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(60, 150, 12));
  BaselineOptions options;
  options.ease.l2 = 3;
  Ease ease(options);
  ease.fit(data);
  const int64_t users = data.num_users(), items = data.num_items();
  const UserItems positives = data.positives(Split::train);
  MatrixXd x = MatrixXd::Zero(users, items);
  for (int64_t u = 0; u < users; ++u)
    for (const int32_t i : positives.of(u)) x(u, i) = 1;
  const MatrixXd p = (x.transpose() * x + 3 * MatrixXd::Identity(items, items)).inverse();
  MatrixXd b = -p * p.diagonal().cwiseInverse().asDiagonal();
  b.diagonal().setZero();
  const MatrixXd expected = x * b;
  std::vector<UserMoment> all;
  for (int64_t u = 0; u < users; ++u) all.push_back({u, 0});
  std::vector<float> found(static_cast<size_t>(users * items));
  ease.score(all, found.data());
  double worst = 0;
  for (int64_t u = 0; u < users; ++u)
    for (int64_t i = 0; i < items; ++i)
      worst =
          std::max(worst, std::abs(static_cast<double>(found[static_cast<size_t>(u * items + i)]) - expected(u, i)));
  CHECK(expected.cwiseAbs().maxCoeff() > 0.1);
  CHECK(worst < 1e-5);
}

TEST_CASE("ease: says what it takes, and refuses what is too much") {
  CHECK(Ease::note(12101) == "ease: a matrix of 12101 x 12101 items, 571 MiB");
  CHECK(Ease::refusal(12101, int64_t{1} << 30) == "");
  CHECK(Ease::refusal(12101, int64_t{1} << 29) ==
        "the baseline \"ease\" of 12101 items takes 571 MiB of memory, and 513 MiB are free; leave it out");
  CHECK(Ease::refusal(20001, int64_t{1} << 40) ==
        "the baseline \"ease\" inverts a matrix of items x items, and 20001 are more than the 20000 that it is for; "
        "leave "
        "it out");
  CHECK(Ease::available_bytes() > 0);
}
