#include <twotower/tensor/random.h>
#include <twotower/tensor/safetensors.h>
#include <twotower/train/simulate/simulated_world.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tt {

namespace {

// One stream of random numbers for each purpose; a visit's streams (simulator.cc) have numbers above 2^32.
enum Stream : uint64_t {
  kUserLatent,
  kItemLatent,
  kItemQuality,
  kTask,
  kPopularity,
  kActivity,
  kPropensity,
  kPairs,
  kRankerUser,
  kRankerItem,
  kRankerQuality,
  kPolicyUser,
  kPolicyItem,
  kPolicyQuality,
  kUserFeatures = 100,
  kItemFeatures = 200,  // three each
};

constexpr double kClickRate = 0.45, kRarer = 0.45;  // task t has rate kClickRate * kRarer^t over random pairs
constexpr double kGain = 1.7;                       // spread of the true logits
constexpr double kQuality = 0.5;                    // spread of item quality, against 1 for the match of user and item
constexpr double kQualityOfPopular = 0.3;           // correlation of an item's quality with its popularity
constexpr double kPolicyNoise = 0.8;
constexpr int64_t kSample = 20000;  // pairs drawn to set rates and to calibrate
constexpr int64_t kCategories = 6;

std::vector<float> normals(uint64_t seed, uint64_t stream, int64_t n, double stddev) {
  std::vector<float> out(static_cast<size_t>(n));
  Philox(seed, stream).fill_normal(out.data(), n, 0.0f, static_cast<float>(stddev));
  return out;
}

std::vector<float> plus_noise(std::vector<float> values, uint64_t seed, uint64_t stream, double stddev) {
  const std::vector<float> noise = normals(seed, stream, static_cast<int64_t>(values.size()), stddev);
  for (size_t i = 0; i < values.size(); ++i) values[i] += noise[i];
  return values;
}

// What another party believes: the truth seen through noise.
LatentModel noisy_view(const LatentModel& truth, uint64_t seed, uint64_t first_stream, double noise) {
  LatentModel view = truth;
  view.user = plus_noise(truth.user, seed, first_stream, noise);
  view.item = plus_noise(truth.item, seed, first_stream + 1, noise / std::sqrt(static_cast<double>(truth.latent)));
  view.quality = plus_noise(truth.quality, seed, first_stream + 2, noise * kQuality);
  return view;
}

struct Pairs {
  std::vector<int64_t> user, item;
};

Pairs random_pairs(const SimulatorOptions& o) {
  Pairs pairs;
  const Philox random(o.seed, kPairs);
  for (uint64_t i = 0; i < kSample; ++i) {
    pairs.user.push_back(static_cast<int64_t>(random.below(2 * i, static_cast<uint64_t>(o.users))));
    pairs.item.push_back(static_cast<int64_t>(random.below(2 * i + 1, static_cast<uint64_t>(o.items))));
  }
  return pairs;
}

// The offset at which the mean probability over the pairs is `rate`, by bisection.
void set_rate(LatentModel& model, int64_t task, double rate, const Pairs& pairs) {
  const auto t = static_cast<size_t>(task);
  double low = -20, high = 20;
  for (int step = 0; step < 50; ++step) {
    model.offset[t] = static_cast<float>((low + high) / 2);
    const LatentScorer scorer = model.scorer();
    double mean = 0;
    for (size_t i = 0; i < pairs.user.size(); ++i) mean += scorer.probability(pairs.user[i], pairs.item[i], task);
    (mean / static_cast<double>(pairs.user.size()) < rate ? low : high) = (low + high) / 2;
  }
}

// Platt scaling: offset and gain that minimise the cross-entropy against the true probabilities, by Newton's
// method. After it, the mean truth among pairs with score p is p.
void calibrate(LatentModel& model, const LatentModel& truth, int64_t task, const Pairs& pairs) {
  const auto t = static_cast<size_t>(task);
  double offset = truth.offset[t], gain = truth.gain[t];
  const LatentScorer scorer = model.scorer(), real = truth.scorer();
  for (int step = 0; step < 25; ++step) {
    double g0 = 0, g1 = 0, h00 = 1e-9, h01 = 0, h11 = 1e-9;
    for (size_t i = 0; i < pairs.user.size(); ++i) {
      const double x = scorer.affinity(pairs.user[i], pairs.item[i], task);
      const double p = 1.0 / (1.0 + std::exp(-(offset + gain * x)));
      const double error = p - real.probability(pairs.user[i], pairs.item[i], task), weight = p * (1 - p);
      g0 += error, g1 += error * x, h00 += weight, h01 += weight * x, h11 += weight * x * x;
    }
    const double determinant = h00 * h11 - h01 * h01;
    if (!(determinant > 0)) break;
    offset -= (h11 * g0 - h01 * g1) / determinant;
    gain -= (h00 * g1 - h01 * g0) / determinant;
  }
  model.offset[t] = static_cast<float>(offset);
  model.gain[t] = static_cast<float>(gain);
}

// Zipf over ranks; quality moves an item up a little.
std::vector<float> make_popularity(const SimulatorOptions& o, const std::vector<float>& quality) {
  const std::vector<float> luck = normals(o.seed, kPopularity, o.items, 1.0);
  std::vector<size_t> order(static_cast<size_t>(o.items));
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<double> appeal(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    appeal[i] =
        kQualityOfPopular * quality[i] / kQuality + std::sqrt(1 - kQualityOfPopular * kQualityOfPopular) * luck[i];
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return appeal[a] > appeal[b]; });
  std::vector<float> popularity(order.size());
  double total = 0;
  for (size_t r = 0; r < order.size(); ++r) total += std::pow(static_cast<double>(r + 1), -o.zipf);
  for (size_t r = 0; r < order.size(); ++r)
    popularity[order[r]] = static_cast<float>(std::pow(static_cast<double>(r + 1), -o.zipf) / total);
  return popularity;
}

template <class T>
std::vector<double> cumulative(const std::vector<T>& weights) {
  std::vector<double> cdf(weights.begin(), weights.end());
  for (size_t i = 1; i < cdf.size(); ++i) cdf[i] += cdf[i - 1];
  for (double& x : cdf) x /= cdf.back();
  cdf.back() = 1;
  return cdf;
}

// Numeric columns are random directions of the latent vector under noise, the category is the direction it is
// closest to (of kCategories, also random).
FeatureMatrix make_features(const SimulatorOptions& o, const std::vector<float>& latent, int64_t rows, double scale,
                            uint64_t stream, const char* category) {
  const auto l = static_cast<size_t>(o.latent);
  const double unit = scale / std::sqrt(static_cast<double>(o.latent));  // a view of the signal has variance 1
  const auto width = static_cast<size_t>(o.features);
  const std::vector<float> directions = normals(o.seed, stream, (o.features + kCategories) * o.latent, 1.0);
  const std::vector<float> noise = normals(o.seed, stream + 1, rows * (o.features + kCategories), o.feature_noise);
  std::vector<FeatureColumn> columns(width + 1);
  for (size_t f = 0; f < width; ++f) columns[f].name = "view" + std::to_string(f);
  columns[width].name = category;
  columns[width].kind = FeatureColumn::Kind::categorical;
  for (int64_t c = 0; c < kCategories; ++c)
    columns[width].vocabulary.push_back(std::string(1, static_cast<char>('a' + c)));
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    double best = -1e300;
    int32_t closest = 0;
    for (size_t f = 0; f < width + kCategories; ++f) {
      double x = noise[r * (width + kCategories) + f];
      for (size_t k = 0; k < l; ++k) x += unit * latent[r * l + k] * directions[f * l + k];
      if (f < width)
        columns[f].numbers.push_back(x);
      else if (x > best)
        best = x, closest = static_cast<int32_t>(f - width);
    }
    columns[width].codes.push_back(closest);
  }
  return assemble_features(columns, rows);
}

}  // namespace

SimulatedWorld make_world(const SimulatorOptions& o) {
  SimulatedWorld world;
  LatentModel& truth = world.truth;
  const double root = std::sqrt(static_cast<double>(o.latent));
  truth.latent = o.latent;
  truth.user = normals(o.seed, kUserLatent, o.users * o.latent, 1.0);
  truth.item = normals(o.seed, kItemLatent, o.items * o.latent, 1.0 / root);
  truth.quality = normals(o.seed, kItemQuality, o.items, kQuality);
  truth.task = normals(o.seed, kTask, o.tasks * o.latent, 0.4);  // tasks weigh the same tastes differently
  for (float& m : truth.task) m += 1;
  truth.offset.assign(static_cast<size_t>(o.tasks), 0);
  truth.gain.assign(static_cast<size_t>(o.tasks), static_cast<float>(kGain));
  const Pairs pairs = random_pairs(o);
  for (int64_t t = 0; t < o.tasks; ++t) {
    set_rate(truth, t, kClickRate * std::pow(kRarer, static_cast<double>(t)), pairs);
    world.value_weights.push_back(static_cast<float>(t + 1));  // the rarer, the more it is worth
  }
  world.ranker = noisy_view(truth, o.seed, kRankerUser, o.ranker_noise);
  for (int64_t t = 0; t < o.tasks; ++t) calibrate(world.ranker, truth, t, pairs);
  world.policy = noisy_view(truth, o.seed, kPolicyUser, kPolicyNoise);

  world.popularity = make_popularity(o, truth.quality);
  world.popularity_cdf = cumulative(world.popularity);
  std::vector<float> activity = normals(o.seed, kActivity, o.users, 0.7);
  for (float& x : activity) x = std::exp(x);
  world.activity_cdf = cumulative(activity);
  world.propensity = normals(o.seed, kPropensity, o.users, o.propensity_spread);
  for (float& x : world.propensity) x = std::min(1.0f, 0.7f * std::exp(x));
  for (int64_t p = 0; p < o.positions; ++p)
    world.examination.push_back(static_cast<float>(std::pow(static_cast<double>(p + 1), -o.examination_decay)));

  world.user_features = make_features(o, truth.user, o.users, 1.0, kUserFeatures, "group");
  world.item_features = make_features(o, truth.item, o.items, root, kItemFeatures, "genre");
  return world;
}

void write_truth(const std::string& path, const SimulatedWorld& world, const SimulatorOptions& o) {
  SafetensorsWriter writer;
  const auto add_model = [&](const std::string& prefix, const LatentModel& model) {
    writer.add(prefix + ".user", model.user.data(), {o.users, o.latent});
    writer.add(prefix + ".item", model.item.data(), {o.items, o.latent});
    writer.add(prefix + ".quality", model.quality.data(), {o.items});
    writer.add(prefix + ".task", model.task.data(), {o.tasks, o.latent});
    writer.add(prefix + ".offset", model.offset.data(), {o.tasks});
    writer.add(prefix + ".gain", model.gain.data(), {o.tasks});
  };
  add_model("truth", world.truth);
  add_model("ranker", world.ranker);
  writer.add("popularity", world.popularity.data(), {o.items});
  writer.add("examination", world.examination.data(), {o.positions});
  writer.add("propensity", world.propensity.data(), {o.users});
  writer.add("value_weights", world.value_weights.data(), {o.tasks});
  writer.metadata("seed", std::to_string(o.seed));
  writer.write(path);
}

}  // namespace tt
