#include <doctest/doctest.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/simulate/simulator.h>
#include <twotower/train/simulate/truth.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <numeric>
#include <set>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  const double mx = std::accumulate(x.begin(), x.end(), 0.0) / n, my = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
  }
  return xy / std::sqrt(xx * yy);
}

SimulatorOptions small() {
  SimulatorOptions o;
  o.users = 300, o.items = 200, o.impressions = 30005;
  return o;
}

}  // namespace

TEST_CASE("simulator: the log has the shape that was asked for") {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  simulate(dir, small());
  const Dataset data = Dataset::open(dir);
  const Truth truth = Truth::load(Dataset::open(dir));
  CHECK(data.has_truth());
  CHECK(data.num_users() == 300);
  CHECK(data.num_items() == 200);
  CHECK(data.tasks() == std::vector<std::string>{"click", "like", "share"});
  CHECK(data.value_weights() == truth.value_weights());
  CHECK(data.user_features_size() == 22);  // 16 views and a category of 6
  const int64_t sizes[] = {data.split(Split::train).size, data.split(Split::valid).size, data.split(Split::test).size};
  CHECK(sizes[0] + sizes[1] + sizes[2] == 30005);
  CHECK(sizes[0] == 24000);
  CHECK(data.has_positions());
  CHECK(data.has_ranker_scores());
  CHECK(data.user_ids().text(17) == "u17");

  const Impressions& log = data.split(Split::train);
  int64_t repeated = 0;
  for (int64_t i = 1; i < log.size; ++i) {
    if (log.time[i] != log.time[i - 1])
      CHECK(log.position[i] == 0);
    else
      CHECK(log.history_end[i] == log.history_end[i - 1]);  // a slate's rows see the same past
    repeated += log.time[i] == log.time[i - 1] && log.item[i] == log.item[i - 1];
  }
  CHECK(repeated == 0);
  // The logged scores are those of the ranker that Truth knows, to the bit.
  for (int64_t i = 0; i < 500; ++i)
    for (int64_t t = 0; t < 3; ++t)
      CHECK(log.ranker_scores[i * 3 + t] ==
            static_cast<float>(truth.ranker_probability(log.user[i], log.time[i], log.item[i], t)));
}

TEST_CASE("simulator: labels follow examination x propensity x relevance") {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  simulate(dir, small());
  const Dataset data = Dataset::open(dir);
  const Truth truth = Truth::load(Dataset::open(dir));
  const Impressions& log = data.split(Split::train);
  std::vector<double> expected(30), found(30), shown(30);  // task x position
  double rate[3] = {};
  for (int64_t i = 0; i < log.size; ++i)
    for (int64_t t = 0; t < 3; ++t) {
      const auto cell = static_cast<size_t>(t * 10 + log.position[i]);
      expected[cell] += truth.examination(log.position[i]) * truth.propensity(log.user[i]) *
                        truth.true_probability(log.user[i], log.time[i], log.item[i], t);
      found[cell] += log.labels[i * 3 + t];
      shown[cell] += 1;
      rate[t] += log.labels[i * 3 + t] / static_cast<double>(log.size);
    }
  for (size_t c = 0; c < 30; ++c)  // five standard errors of a Poisson count
    CHECK(std::abs(found[c] - expected[c]) < 5 * std::sqrt(expected[c]) + 1);
  CHECK(rate[0] > 1.5 * rate[1]);
  CHECK(rate[1] > 1.5 * rate[2]);
  CHECK(rate[2] > 0.01);
}

TEST_CASE("simulator: the policy is biased towards popular items, and shows them first") {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  simulate(dir, small());
  const Dataset data = Dataset::open(dir);
  const Truth truth = Truth::load(Dataset::open(dir));
  const Impressions& log = data.split(Split::train);
  std::vector<double> popularity, count(200), top(10);
  for (int64_t i = 0; i < 200; ++i) popularity.push_back(truth.popularity()[i]);
  for (int64_t i = 0; i < log.size; ++i) {
    count[static_cast<size_t>(log.item[i])] += 1;
    top[static_cast<size_t>(log.position[i])] += std::log(truth.popularity()[log.item[i]]);
  }
  CHECK(correlation(popularity, count) > 0.7);
  CHECK(top[0] > top[4]);
  CHECK(top[4] > top[9]);
  CHECK(std::accumulate(popularity.begin(), popularity.end(), 0.0) == doctest::Approx(1).epsilon(1e-4));
}

TEST_CASE("simulator: the main ranker is noisy, good and calibrated") {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  simulate(dir, small());
  const Truth truth = Truth::load(Dataset::open(dir));
  std::vector<float> real(200), guess(200);
  std::vector<double> values, guesses;
  std::vector<double> bin_true(10), bin_guess(10), bin_count(10);
  for (int64_t u = 0; u < truth.num_users(); ++u) {
    truth.true_probabilities(u, 0, 0, real.data());
    truth.ranker_probabilities(u, 0, 0, guess.data());
    CHECK(real[5] == static_cast<float>(truth.true_probability(u, 0, 5, 0)));
    for (size_t i = 0; i < 200; ++i) {
      const auto bin = static_cast<size_t>(std::min(9.0f, guess[i] * 10));
      bin_true[bin] += real[i], bin_guess[bin] += guess[i], bin_count[bin] += 1;
      values.push_back(real[i]), guesses.push_back(guess[i]);
    }
  }
  const double r = correlation(values, guesses);
  CHECK(r > 0.75);
  CHECK(r < 0.99);
  for (size_t b = 0; b < 10; ++b)
    if (bin_count[b] > 500) CHECK(std::abs(bin_true[b] - bin_guess[b]) / bin_count[b] < 0.03);
  truth.true_values(3, 0, real.data());
  CHECK(real[7] == doctest::Approx(truth.true_value(3, 0, 7)));
  truth.ranker_values(3, 0, real.data());
  CHECK(real[7] == doctest::Approx(truth.ranker_value(3, 0, 7)));
}

TEST_CASE("simulator: the main ranker is calibrated however noisy it is") {
  for (const double noise : {0.0, 0.7, 2.0}) {
    INFO("noise ", noise);
    TempFolder folder;
    SimulatorOptions options = small();
    options.ranker_noise = noise;
    simulate(folder.path() + "/d", options);
    const Truth truth = Truth::load(Dataset::open(folder.path() + "/d"));
    std::vector<float> real(200), guess(200);
    for (int64_t task = 0; task < 3; ++task) {
      double sum_real = 0, sum_guess = 0;
      for (int64_t u = 0; u < truth.num_users(); ++u) {
        truth.true_probabilities(u, 0, task, real.data());
        truth.ranker_probabilities(u, 0, task, guess.data());
        sum_real = std::accumulate(real.begin(), real.end(), sum_real);
        sum_guess = std::accumulate(guess.begin(), guess.end(), sum_guess);
      }
      CHECK(sum_guess == doctest::Approx(sum_real).epsilon(0.05));
    }
  }
}

TEST_CASE("simulator: features are noisy views of the preferences") {
  // Without noise, users whose features are alike have the same tastes: the inner products must correlate.
  TempFolder folder;
  SimulatorOptions o = small();
  o.feature_noise = 0.1;
  simulate(folder.path() + "/d", o);
  const Dataset data = Dataset::open(folder.path() + "/d");
  const Truth truth = Truth::load(data);
  std::vector<double> alike, same_taste;
  std::vector<float> first(200), other(200);
  truth.true_values(0, 0, first.data());
  for (int64_t u = 1; u < 300; ++u) {
    double dot = 0;
    for (int64_t f = 0; f < 16; ++f) dot += data.user_features()[f] * data.user_features()[u * 22 + f];
    truth.true_values(u, 0, other.data());
    alike.push_back(dot);
    same_taste.push_back(correlation({first.begin(), first.end()}, {other.begin(), other.end()}));
  }
  CHECK(correlation(alike, same_taste) > 0.6);
}

TEST_CASE("simulator: the same seed gives the same bytes on any number of threads, another seed others") {
  TempFolder folder;
  SimulatorOptions o = small();
  const int threads = num_threads();
  set_num_threads(1);
  simulate(folder.path() + "/a", o);
  set_num_threads(3);
  simulate(folder.path() + "/b", o);
  set_num_threads(threads);
  o.seed = 2;
  simulate(folder.path() + "/c", o);
  const auto bytes = [&](const char* name) { return read_whole_file(folder.path() + name); };
  for (const std::string file : {"train", "test", "users", "items", "history", "truth"}) {
    CHECK(bytes(("/a/" + file + ".safetensors").c_str()) == bytes(("/b/" + file + ".safetensors").c_str()));
    CHECK(bytes(("/a/" + file + ".safetensors").c_str()) != bytes(("/c/" + file + ".safetensors").c_str()));
  }
}

TEST_CASE("simulator: options out of range are refused") {
  TempFolder folder;
  const auto says = [&](auto&& change) {
    SimulatorOptions o = small();
    change(o);
    return error_of([&] { simulate(folder.path() + "/d", o); });
  };
  CHECK(says([](auto& o) { o.tasks = 0; }) == "[simulate] --tasks is 0, outside [1, 16]");
  CHECK(says([](auto& o) { o.zipf = -1; }) == "[simulate] --zipf is -1, outside [0, 4]");
  CHECK(says([](auto& o) { o.items = 5; }) ==
        "[simulate] a slate of 10 positions needs as many items, there are 5; raise --items or lower "
        "--positions");
  write_dataset(folder.path() + "/d", tiny_content());
  const Dataset data = Dataset::open(folder.path() + "/d");
  CHECK(error_of([&] { Truth::load(data); }, data.dir()) ==
        "[dataset FILE] has no truth.safetensors; only a dataset made by `twotower simulate` knows the truth");
}

TEST_CASE("simulator: who chooses does not judge") {
  TempFolder folder;
  simulate(folder.path() + "/d", small());
  const Dataset data = Dataset::open(folder.path() + "/d");
  const Impressions &train = data.split(Split::train), &valid = data.split(Split::valid),
                    &test = data.split(Split::test);
  const std::set<int32_t> choosing(valid.user, valid.user + valid.size), judging(test.user, test.user + test.size);
  std::vector<int32_t> both;
  std::set_intersection(choosing.begin(), choosing.end(), judging.begin(), judging.end(), std::back_inserter(both));
  CHECK(both.empty());
  CHECK(choosing.size() > 100);  // most of the 150 of each
  CHECK(judging.size() > 100);
  // Of the same time, later than train, and with the train actions of their users as histories.
  CHECK(data.later_than_train(Split::valid));
  CHECK(data.later_than_train(Split::test));
  CHECK(std::abs(valid.time[0] - test.time[0]) < 600);
  CHECK(std::set<int32_t>(train.user, train.user + train.size).size() > 290);
  double histories = 0;
  for (int64_t i = 0; i < test.size; ++i) histories += test.history_end[i];
  CHECK(histories / static_cast<double>(test.size) > 10);
}

TEST_CASE("simulator: the truth of another dataset is refused") {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  simulate(dir, small());
  const auto says = [&](auto&& change) {
    SimulatorOptions o = small();
    o.impressions = 1000;
    change(o);
    simulate(folder.path() + "/other", o);
    std::filesystem::copy_file(folder.path() + "/other/truth.safetensors", dir + "/truth.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    const Dataset data = Dataset::open(dir);
    return error_of([&] { Truth::load(data); }, dir);
  };
  CHECK(says([](auto& o) { o.items = 250; }) ==
        "[dataset FILE/truth.safetensors] knows 300 users, 250 items and 3 labels, the dataset has 300, 200 and 3; it "
        "belongs to another dataset: remove it, or simulate again");
  CHECK(says([](auto& o) { o.users = 301; }).find("knows 301 users") != std::string::npos);
  CHECK(says([](auto& o) { o.tasks = 2; }).find("2 labels") != std::string::npos);
  CHECK(says([](auto&) {}).empty());
}

TEST_CASE("simulator: tiny worlds work too") {
  TempFolder folder;
  SimulatorOptions o;
  o.users = 2, o.items = 10, o.impressions = 10, o.tasks = 1, o.features = 0, o.zipf = 4;
  simulate(folder.path() + "/d", o);
  CHECK(Dataset::open(folder.path() + "/d").split(Split::train).size == 10);
}
