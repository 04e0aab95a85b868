// The log Q correction does what it is for: on a small corpus with a known Zipf popularity the expected
// gradient of the softmax over the batch is that of the softmax over the corpus. sampling.h has the formulas;
// here they meet batches drawn from a known Q.
//
// The error is measured on the mean gradient of many batches, less that of the full softmax on the very same
// rows, so that only what the negatives do remains. What is left of it at a batch of B rows is the bias of a
// ratio of estimates, O(1/B), and noise that shrinks with the number of rows. The rows of a batch count as
// different users': nothing but the row's own item is masked.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/models/batch.h>
#include <twotower/tensor/random.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/batches/sampling.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/models/fixtures.h"
#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;
using tt::testing::dense_gradient;

namespace {

constexpr int64_t kItems = 60, kWidth = 4;
constexpr double kExponent = 1.0;

enum class Correction { none, turned, default_pair, both_corrected_unmasked, both_corrected_masked };

struct Setup {
  Correction correction = Correction::default_pair;
  double tau = 1;
  int64_t uniform = 0;  // further negatives, drawn from the corpus
  int64_t queue = 0;    // further negatives still, from the log, constant to the gradient: only users are compared
};

// What the mean gradient of the batches is, beside that of the full softmax: relative error, cosine, ratio of
// lengths.
struct Comparison {
  double error, cosine, length;
};

Comparison compare(const std::vector<double>& got, const std::vector<double>& wanted) {
  double difference = 0, gg = 0, ww = 0, gw = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    gg += got[i] * got[i], ww += wanted[i] * wanted[i], gw += got[i] * wanted[i];
  }
  return {std::sqrt(difference / ww), gw / std::sqrt(gg * ww), std::sqrt(gg / ww)};
}

// Users and items of fixed random vectors. A user acts on an item by its Zipf popularity times what the user
// makes of it, so the model already puts weight on the positives, as a model in training does; Q is what that
// comes to over all users, exactly.
class World {
 public:
  World() : q_(kItems, 0.0) {
    const Philox random(17);
    uint64_t next = 0;
    users_ = parameters_.add("users", {kUsers, kWidth}, Initializer::constant(0));
    items_ = parameters_.add("items", {kItems, kWidth}, Initializer::constant(0));
    for (double& x : users_->value) x = random.normal(next++);
    for (double& x : items_->value) x = random.normal(next++);
    for (int64_t user = 0; user < kUsers; ++user) {
      std::vector<double>& p = cumulative_.emplace_back();
      for (int64_t i = 0; i < kItems; ++i) {
        double score = 0;
        for (int64_t d = 0; d < kWidth; ++d) score += users_->value.row(user)[d] * items_->value.row(i)[d];
        p.push_back(std::pow(static_cast<double>(i + 1), -kExponent) * std::exp(score / 2));
      }
      const double sum = std::accumulate(p.begin(), p.end(), 0.0);
      for (size_t i = 0; i < p.size(); ++i) q_[i] += p[i] / sum / kUsers;
      std::partial_sum(p.begin(), p.end(), p.begin());
    }
  }

  // The mean over `rows` rows, in batches of `batch`, against the full softmax.
  Comparison run(const Setup& setup, int64_t batch, int64_t rows) {
    std::vector<double> sampled, full;
    for (int64_t first = 0; first < rows; first += batch) {
      add(sampled, setup, [&] { return sampled_loss(setup, first, batch); });
      add(full, setup, [&] { return full_loss(setup.tau, first, batch); });
    }
    return compare(sampled, full);
  }

 private:
  static constexpr int64_t kUsers = 64;

  template <class Loss>
  void add(std::vector<double>& sum, const Setup& setup, Loss loss) {
    tape_.reset();
    const Gradients<double> gradients = tape_.backward(loss());
    size_t at = 0;
    for (const Parameter<double>* p : {users_, items_}) {
      if (p == items_ && setup.queue > 0) continue;
      const std::vector<double> g = dense_gradient(gradients, *p);
      sum.resize(std::max(sum.size(), at + g.size()));
      for (const double x : g) sum[at++] += x;
    }
  }

  // Row `row` of an endless log: who, and which item.
  std::pair<int64_t, int64_t> draw(uint64_t log, int64_t row) const {
    const auto at = static_cast<uint64_t>(row);
    const auto user = static_cast<int64_t>(Philox(17, 2 * log).below(at, kUsers));
    const std::vector<double>& p = cumulative_[static_cast<size_t>(user)];
    const double x = Philox(17, 2 * log + 1).uniform(at) * p.back();
    return {user, std::min<int64_t>(std::upper_bound(p.begin(), p.end(), x) - p.begin(), kItems - 1)};
  }

  void draw_rows(int64_t first, int64_t batch) {
    user_ids_.clear(), item_ids_.clear(), strangers_.clear();
    for (int64_t i = 0; i < batch; ++i) {
      const auto [user, item] = draw(1, first + i);
      user_ids_.push_back(user), item_ids_.push_back(item), strangers_.push_back(i);
    }
  }

  Variable<double> weights(int64_t n) {
    const Tensor<double> w = tape_.make({n});
    w.fill(1);
    return tape_.constant(w);
  }

  Variable<double> sampled_loss(const Setup& setup, int64_t first, int64_t batch) {
    draw_rows(first, batch);
    further_.clear();
    for (int64_t i = 0; i < setup.uniform; ++i)
      further_.push_back(
          static_cast<int64_t>(Philox(17, 1).below(static_cast<uint64_t>(first / batch * setup.uniform + i), kItems)));
    for (int64_t i = 0; i < setup.queue; ++i) further_.push_back(draw(2, first / batch * setup.queue + i).second);
    columns_ = item_ids_;
    columns_.insert(columns_.end(), further_.begin(), further_.end());
    const auto m = static_cast<int64_t>(columns_.size());

    Candidates<double> c;
    const Correction kind = setup.correction;
    if (kind != Correction::none) {
      const Tensor<double> log_q = tape_.make({m});
      for (int64_t j = 0; j < m; ++j)
        log_q[j] = (kind == Correction::turned ? -1 : 1) *
                   log_expected_count(static_cast<double>(batch - 1 + setup.queue),
                                      q_[static_cast<size_t>(columns_[static_cast<size_t>(j)])],
                                      static_cast<double>(setup.uniform), kItems);
      c.log_q = log_q;
    }
    c.positive_uncorrected = kind == Correction::default_pair || kind == Correction::turned;
    if (kind != Correction::both_corrected_unmasked)
      c.exclude = accidental_hits({strangers_.data(), {batch}}, {item_ids_.data(), {batch}}, {},
                                  {further_.data(), {m - batch}}, arena_);
    const Variable<double> u = embedding(tape_.parameter(*users_), {user_ids_.data(), {batch}});
    const Variable<double> v = embedding(tape_.parameter(*items_), {columns_.data(), {m}});
    return in_batch_softmax(u, v, tape_.scalar(setup.tau), weights(batch), c);
  }

  Variable<double> full_loss(double tau, int64_t first, int64_t batch) {
    draw_rows(first, batch);
    columns_.resize(kItems);
    for (int64_t i = 0; i < kItems; ++i) columns_[static_cast<size_t>(i)] = i;
    Candidates<double> c;
    c.target = {item_ids_.data(), {batch}};
    const Variable<double> u = embedding(tape_.parameter(*users_), {user_ids_.data(), {batch}});
    const Variable<double> v = embedding(tape_.parameter(*items_), {columns_.data(), {kItems}});
    return in_batch_softmax(u, v, tape_.scalar(tau), weights(batch), c);
  }

  std::vector<double> q_;                        // [C] sums to 1
  std::vector<std::vector<double>> cumulative_;  // [U][C] of each user's items
  ParameterSet<double> parameters_;
  Parameter<double>*users_, *items_;
  std::vector<int64_t> user_ids_, item_ids_, strangers_, further_, columns_;
  Arena arena_;
  Tape<double> tape_{arena_};
};

constexpr int64_t kRows = 1 << 15;

Comparison far(const Setup& setup) { return World().run(setup, 1024, kRows); }

}  // namespace

TEST_CASE("log Q: the corrected gradient converges to the full softmax's, in direction and length") {
  const Correction masked = Correction::default_pair;
  for (const Setup& setup : {Setup{}, Setup{masked, 0.5}, Setup{masked, 2}, Setup{masked, 1, 64},
                             Setup{masked, 1, 0, 256}, Setup{Correction::both_corrected_unmasked}}) {
    INFO("kind ", static_cast<int>(setup.correction), ", tau ", setup.tau, ", uniform ", setup.uniform, ", queue ",
         setup.queue);
    const Comparison small = World().run(setup, 16, kRows), medium = World().run(setup, 128, kRows), large = far(setup);
    CHECK(medium.error < small.error / (setup.queue > 0 ? 1.1 : 2));  // a queue of 256 leaves little to gain
    CHECK(large.error < medium.error);
    CHECK(large.error < 0.05);
    CHECK(large.cosine > 0.998);
    CHECK(large.length == doctest::Approx(1).epsilon(0.01));
  }
}

TEST_CASE("log Q: without correction, or with its sign turned, the gradient stays another one") {
  for (const Setup& more : {Setup{}, Setup{Correction::default_pair, 0.5}, Setup{Correction::default_pair, 1, 64}})
    for (const Correction kind : {Correction::none, Correction::turned}) {
      Setup setup = more;
      setup.correction = kind;
      INFO("kind ", static_cast<int>(kind), ", tau ", setup.tau, ", uniform ", setup.uniform);
      const Comparison large = far(setup);
      CHECK(large.error > (kind == Correction::none ? 0.2 : 0.4));
      CHECK(large.error > 0.7 * World().run(setup, 128, kRows).error);  // no smaller with more negatives
      CHECK(large.cosine < (kind == Correction::none ? 0.98 : 0.9));
    }
}

TEST_CASE("log Q: a corrected positive whose other columns are masked converges to another softmax") {
  const Setup right{Correction::default_pair, 0.5}, both{Correction::both_corrected_masked, 0.5};
  CHECK(far(both).error > 2 * far(right).error);
}

TEST_CASE("log Q: a loader's batches, as a model is trained by default, converge to the full softmax") {
  DatasetContent content;
  content.source = "a test", content.protocol = "given split", content.tasks = {"click"};
  const int64_t users = 4096, items = 30;
  const Philox random(5);
  double total = 0;
  for (int64_t i = 0; i < items; ++i) {
    total += 1.0 / static_cast<double>(i + 1);
    content.item_ids.push_back("i" + std::to_string(i));
  }
  for (int64_t u = 0; u < users; ++u) {  // a user acts once, so nothing but the row's own item is masked
    content.user_ids.push_back("u" + std::to_string(u));
    double x = random.uniform(static_cast<uint64_t>(u)) * total;
    int32_t item = 0;
    while (item + 1 < items && (x -= 1.0 / (item + 1)) > 0) ++item;
    content.train.user.push_back(static_cast<int32_t>(u)), content.train.item.push_back(item);
    content.train.time.push_back(static_cast<double>(u)), content.train.labels.push_back(1);
  }
  const TempFolder folder;
  const Dataset data = open_written(folder, content);
  TrainConfig train;
  train.batch_size = 512, train.prefetch = false;

  const auto gradient = [&](const ModelConfig& config, int64_t first_epoch, int64_t epochs) {
    TwoTower<float> model(config);
    Loader loader(data, config, train);
    std::vector<double> sum;
    for (int64_t epoch = first_epoch; epoch < first_epoch + epochs; ++epoch) {
      loader.start_epoch(epoch);
      while (const Batch<float>* batch = loader.next()) {
        Arena arena;
        Tape<float> tape(arena);
        const Gradients<float> gradients = tape.backward(model.loss(tape, *batch).total);
        size_t at = 0;
        for (const Parameter<float>* p : model.parameters().all()) {
          const std::vector<double> g = dense_gradient(gradients, *p);
          sum.resize(std::max(sum.size(), at + g.size()));
          for (const double x : g) sum[at++] += x / static_cast<double>(epochs);
        }
      }
    }
    return sum;
  };
  ModelConfig config = small_config(data), full = config;
  full.full_softmax = true;
  const std::vector<double> wanted = gradient(full, 0, 1);
  for (const char* log_q : {"counts", "stream"}) {
    config.log_q = log_q;
    const Comparison c = compare(gradient(config, 8, 8), wanted);
    INFO(log_q, ": error ", c.error, ", cosine ", c.cosine, ", length ", c.length);
    CHECK(c.error < 0.05);
    CHECK(c.length == doctest::Approx(1).epsilon(0.02));
  }
  config.log_q = "none";
  CHECK(compare(gradient(config, 8, 8), wanted).error > 0.2);
}
