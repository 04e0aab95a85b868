// The drifting world, and what can be made wrong with the ranker and the log of either world.

#include <doctest/doctest.h>
#include <twotower/models/bundle/fingerprint.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/simulate/simulator.h>
#include <twotower/train/simulate/truth.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

constexpr Split kSplits[] = {Split::train, Split::valid, Split::test};

SimulatorOptions drifting() {
  SimulatorOptions o;
  o.world = "drifting";
  o.users = 300, o.items = 200, o.impressions = 30005;
  return o;
}

Dataset made(const TempFolder& folder, const SimulatorOptions& o) {
  simulate(folder.path() + "/d", o);
  return Dataset::open(folder.path() + "/d");
}

double correlation(const std::vector<double>& x, const std::vector<float>& y) {
  const auto n = static_cast<double>(x.size());
  const double mx = std::accumulate(x.begin(), x.end(), 0.0) / n, my = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double a = x[i] - mx, b = static_cast<double>(y[i]) - my;
    xy += a * b, xx += a * a, yy += b * b;
  }
  return xy / std::sqrt(xx * yy + 1e-12);
}

// How well the mean vector of the last `newest` items that test users acted on tells what they want at their first
// impression of the test period: the correlation of its products with all items and their true values.
double told_by_history(const Dataset& data, int64_t newest) {
  const Truth truth = Truth::load(data);
  const SafetensorsFile file = SafetensorsFile::open(data.dir() + "/truth.safetensors");
  const float* vectors = file.data<float>("truth.item");
  const int64_t items = data.num_items(), latent = file.entry("truth.item").shape[1];
  const Impressions& test = data.split(Split::test);
  std::vector<uint8_t> done(static_cast<size_t>(data.num_users()), 0);
  std::vector<float> values(static_cast<size_t>(items));
  double sum = 0, users = 0;
  for (int64_t i = 0; i < test.size; ++i) {
    const int64_t u = test.user[i], end = test.history_end[i];
    if (done[static_cast<size_t>(u)]++ || end < 10) continue;
    std::vector<double> mean(static_cast<size_t>(latent)), told;
    for (int64_t a = std::max<int64_t>(0, end - newest); a < end; ++a)
      for (int64_t k = 0; k < latent; ++k)
        mean[static_cast<size_t>(k)] +=
            static_cast<double>(vectors[data.user_actions(u)[static_cast<size_t>(a)] * latent + k]);
    for (int64_t j = 0; j < items; ++j) {
      double dot = 0;
      for (int64_t k = 0; k < latent; ++k)
        dot += mean[static_cast<size_t>(k)] * static_cast<double>(vectors[j * latent + k]);
      told.push_back(dot);
    }
    truth.true_values(u, test.time[i], values.data());
    sum += correlation(told, values), users += 1;
  }
  REQUIRE(users > 30);
  return sum / users;
}

}  // namespace

// The numbers are those of the simulator before it had a drifting world; they are whole, so that they do not depend on
// a library's last bits.
TEST_CASE("simulator: a static world is what it always was") {
  const TempFolder folder;
  SimulatorOptions o;
  o.users = 300, o.items = 200, o.impressions = 30005, o.seed = 7;
  const Dataset data = made(folder, o);
  Fingerprint log;
  for (const Split s : kSplits) {
    const Impressions& rows = data.split(s);
    log.add_values(rows.user, rows.size);
    log.add_values(rows.item, rows.size);
    log.add_values(rows.labels, rows.size * 3);
    log.add_values(rows.time, rows.size);
  }
  CHECK(log.text() == "4592dd1bf13a9fb556ab629df43742b5");
  CHECK(data.available() == nullptr);
  const Truth truth = Truth::load(data);
  CHECK(truth.ranker_probability(3, 0, 5, 1) == truth.ranker_probability(3, 2e9, 5, 1));
}

TEST_CASE("simulator: a drifting world is the same on any number of threads") {
  const TempFolder folder;
  SimulatorOptions o = drifting();
  o.score_noise = 0.5, o.sparse_users = 0.3, o.ranker_popularity_bias = 1;
  const int threads = num_threads();
  set_num_threads(1);
  simulate(folder.path() + "/a", o);
  set_num_threads(4);
  simulate(folder.path() + "/b", o);
  set_num_threads(threads);
  for (const std::string file : {"train", "valid", "test", "users", "items", "history", "truth"})
    CHECK(read_whole_file(folder.path() + "/a/" + file + ".safetensors") ==
          read_whole_file(folder.path() + "/b/" + file + ".safetensors"));
}

TEST_CASE("simulator: the truth as of an impression's time is what scored it") {
  for (const double bias : {0.0, 1.5}) {
    const TempFolder folder;
    SimulatorOptions o = drifting();
    o.ranker_popularity_bias = bias;
    const Dataset data = made(folder, o);
    const Truth truth = Truth::load(data);
    int64_t differ = 0, moved = 0;
    std::vector<double> expected(3), found(3);
    for (const Split s : kSplits) {
      const Impressions& log = data.split(s);
      for (int64_t i = 0; i < log.size; ++i)
        for (int64_t t = 0; t < 3; ++t) {
          const int64_t u = log.user[i], item = log.item[i];
          differ +=
              log.ranker_scores[i * 3 + t] != static_cast<float>(truth.ranker_probability(u, log.time[i], item, t));
          moved += truth.ranker_probability(u, log.time[i], item, t) != truth.ranker_probability(u, 0, item, t);
          expected[static_cast<size_t>(t)] += truth.examination(log.position[i]) * truth.propensity(u) *
                                              truth.true_probability(u, log.time[i], item, t);
          found[static_cast<size_t>(t)] += static_cast<double>(log.labels[i * 3 + t]);
        }
    }
    CHECK(differ == 0);
    CHECK(moved > 50000);  // of 90,015: interests do not stand still
    for (size_t t = 0; t < 3; ++t) CHECK(std::abs(found[t] - expected[t]) < 6 * std::sqrt(expected[t]));
  }
}

TEST_CASE("simulator: only what is on offer is shown, and the test period's offer is the available items") {
  const TempFolder folder;
  const Dataset data = made(folder, drifting());
  const SafetensorsFile file = SafetensorsFile::open(data.dir() + "/truth.safetensors");
  const double *born = file.data<double>("item_born"), *gone = file.data<double>("item_gone");
  const Impressions& train = data.split(Split::train);
  int64_t shown_later = 0;
  for (int64_t i = 0; i < train.size; ++i) {
    CHECK_MESSAGE(born[train.item[i]] <= train.time[i] + 1e-3, i);
    CHECK_MESSAGE(train.time[i] < gone[train.item[i]] + 1e-3, i);
  }
  for (const Split s : {Split::valid, Split::test})
    for (int64_t i = 0; i < data.split(s).size; ++i) shown_later += !data.available(data.split(s).item[i]);
  CHECK(shown_later == 0);
  CHECK(data.num_available() > 100);
  CHECK(data.num_available() < 170);
  CHECK(std::count_if(born, born + 200, [&](double b) { return b > train.time[0]; }) > 30);  // newcomers
  const Impressions& test = data.split(Split::test);
  int64_t new_users = 0;
  for (int64_t i = 0; i < test.size; ++i) new_users += test.history_end[i] == 0;
  CHECK(new_users > 0);
}

TEST_CASE("simulator: where interests drift the newest actions tell more than all of them, else not") {
  const TempFolder folder;
  SimulatorOptions o = drifting();
  o.users = 400, o.impressions = 60000;
  const Dataset data = made(folder, o);
  const double newest = told_by_history(data, 5), all = told_by_history(data, 1000000);
  CHECK(newest > all + 0.05);
  o.world = "static";
  const TempFolder other;
  const Dataset still = made(other, o);
  CHECK(told_by_history(still, 5) < told_by_history(still, 1000000));
}

TEST_CASE("simulator: sparse users keep their last 1, 3 and 10 training rows") {
  const TempFolder folder, whole_folder;
  SimulatorOptions o = drifting();
  o.world = "static", o.users = 90, o.impressions = 60000;
  const Dataset whole = made(whole_folder, o);
  o.sparse_users = 0.6;
  const Dataset data = made(folder, o);
  const auto rows_of = [](const Dataset& d) {
    std::vector<int64_t> rows(static_cast<size_t>(d.num_users()));
    for (int64_t i = 0; i < d.split(Split::train).size; ++i) ++rows[static_cast<size_t>(d.split(Split::train).user[i])];
    return rows;
  };
  const std::vector<int64_t> before = rows_of(whole), after = rows_of(data);
  REQUIRE(*std::min_element(before.begin(), before.end()) > 10);
  std::vector<int64_t> with(11);
  int64_t untouched = 0;
  for (size_t u = 0; u < 90; ++u) {
    if (after[u] <= 10) ++with[static_cast<size_t>(after[u])];
    untouched += after[u] == before[u];
  }
  CHECK(with[1] == 18);
  CHECK(with[3] == 18);
  CHECK(with[10] == 18);
  CHECK(untouched == 36);
  CHECK(data.split(Split::test).size == whole.split(Split::test).size);
  // They are the last ones.
  const Impressions &kept = data.split(Split::train), &all = whole.split(Split::train);
  for (int64_t u = 0; u < 90; ++u) {
    if (after[static_cast<size_t>(u)] != 1) continue;
    int64_t last = -1, mine = -1;
    for (int64_t i = 0; i < all.size; ++i)
      if (all.user[i] == u) last = i;
    for (int64_t i = 0; i < kept.size; ++i)
      if (kept.user[i] == u) mine = i;
    CHECK(kept.item[mine] == all.item[last]);
    CHECK(kept.time[mine] == all.time[last]);
  }
}

TEST_CASE("simulator: a ranker can be wrong about popular items, and its log noisy") {
  const auto scores = [](double bias, double noise) {
    const TempFolder folder;
    SimulatorOptions o = drifting();
    o.world = "static", o.ranker_popularity_bias = bias, o.score_noise = noise;
    const Dataset data = made(folder, o);
    const Truth truth = Truth::load(data);
    const Impressions& log = data.split(Split::train);
    std::vector<double> out[3];  // logits of logged and of true scores, log popularity
    for (int64_t i = 0; i < log.size; ++i) {
      const auto logit = [](double p) { return std::log(p / (1 - p)); };
      out[0].push_back(logit(std::clamp(static_cast<double>(log.ranker_scores[i * 3]), 1e-6, 1 - 1e-6)));
      out[1].push_back(logit(truth.ranker_probability(log.user[i], 0, log.item[i], 0)));
      out[2].push_back(std::log(static_cast<double>(truth.popularity()[log.item[i]])));
    }
    return std::vector<std::vector<double>>(out, out + 3);
  };
  const auto plain = scores(0, 0), biased = scores(2, 0), noisy = scores(0, 0.5);
  // The log is the same but for the scores; the bias follows log popularity.
  std::vector<double> added;
  for (size_t i = 0; i < plain[0].size(); ++i) added.push_back(biased[1][i] - plain[1][i]);
  CHECK(correlation(added, std::vector<float>(plain[2].begin(), plain[2].end())) == doctest::Approx(1).epsilon(1e-3));
  double square = 0;
  for (size_t i = 0; i < noisy[0].size(); ++i) {
    CHECK_MESSAGE(noisy[1][i] == plain[1][i], i);  // what the ranker thinks has no noise
    square += (noisy[0][i] - noisy[1][i]) * (noisy[0][i] - noisy[1][i]);
  }
  CHECK(std::sqrt(square / static_cast<double>(noisy[0].size())) == doctest::Approx(0.5).epsilon(0.05));
}

TEST_CASE("simulator: a drifting world that would run out of items is refused") {
  const TempFolder folder;
  SimulatorOptions o = drifting();
  o.items = 12;
  const std::string text = error_of([&] { made(folder, o); });
  CHECK(text.find("are on offer at some time, a slate of 10 positions needs as many; raise --items") !=
        std::string::npos);
  o.world = "moving";
  CHECK(error_of([&] { made(folder, o); }) == "[simulate] --world \"moving\" is unknown; choose static or drifting");
}
