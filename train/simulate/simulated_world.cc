#include <twotower/tensor/files/safetensors.h>
#include <twotower/tensor/random.h>
#include <twotower/train/simulate/simulated_world.h>
#include <twotower/train/simulate/streams.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tt {

namespace {

constexpr double kClickRate = 0.45, kRarer = 0.45;  // task t has rate kClickRate * kRarer^t over random pairs
constexpr double kGain = 1.7;                       // spread of the true logits
constexpr double kQuality = 0.5;                    // spread of item quality, against 1 for the match of user and item
constexpr double kQualityOfPopular = 0.3;           // correlation of an item's quality with its popularity
constexpr double kPolicyNoise = 0.8;
constexpr double kActivitySpread = 0.7;    // log-normal, of how often users come
constexpr double kDriftingActivity = 1.2;  // the same in a drifting world: more of the visits are those of regulars
constexpr int64_t kSample = 20000;         // pairs drawn to set rates and to calibrate
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

// What another party believes: the truth seen through noise. It errs on a user in the same way at all times.
LatentModel noisy_view(const LatentModel& truth, const std::vector<int64_t>& user_offsets, uint64_t seed,
                       uint64_t first_stream, double noise) {
  LatentModel view = truth;
  const auto users = static_cast<int64_t>(user_offsets.size()) - 1, latent = truth.latent;
  const std::vector<float> error = normals(seed, first_stream, users * latent, noise);
  for (int64_t u = 0; u < users; ++u)
    for (int64_t at = user_offsets[static_cast<size_t>(u)] * latent;
         at < user_offsets[static_cast<size_t>(u) + 1] * latent; ++at)
      view.user[static_cast<size_t>(at)] += error[static_cast<size_t>(u * latent + at % latent)];
  view.item = plus_noise(truth.item, seed, first_stream + 1, noise / std::sqrt(static_cast<double>(truth.latent)));
  view.quality = plus_noise(truth.quality, seed, first_stream + 2, noise * kQuality);
  return view;
}

struct Pairs {
  std::vector<int64_t> user, item;
};

// Users are rows of the users' vectors: each visit counts where interests drift.
Pairs random_pairs(const SimulatorOptions& o, int64_t rows) {
  Pairs pairs;
  const Philox random(o.seed, kPairs);
  for (uint64_t i = 0; i < kSample; ++i) {
    pairs.user.push_back(static_cast<int64_t>(random.below(2 * i, static_cast<uint64_t>(rows))));
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
  const LatentScorer scorer = model.scorer(), real = truth.scorer();
  double mean = 0;
  for (size_t i = 0; i < pairs.user.size(); ++i) mean += real.probability(pairs.user[i], pairs.item[i], task);
  mean /= static_cast<double>(pairs.user.size());
  double offset = std::log(mean / (1 - mean)), gain = 0;  // where Newton's steps are sure to lead to the optimum
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

// By their activity; in a drifting world of those who are there.
std::vector<int32_t> draw_visitors(const SimulatorOptions& o) {
  std::vector<float> activity = normals(o.seed, kActivity, o.users, o.drifting() ? kDriftingActivity : kActivitySpread);
  for (float& x : activity) x = std::exp(x);
  const std::vector<double> cdf = cumulative(activity);
  const auto visitor = [&](double u) {
    return static_cast<int32_t>(
        std::min<int64_t>(std::upper_bound(cdf.begin(), cdf.end(), u) - cdf.begin(), o.users - 1));
  };
  std::vector<int32_t> visitors(static_cast<size_t>(o.visits()));
  if (!o.drifting()) {
    for (size_t v = 0; v < visitors.size(); ++v) visitors[v] = visitor(Philox(o.seed, kVisit + v).uniform(0));
    return visitors;
  }
  const std::vector<float> born = user_births(o);
  const Philox random(o.seed, kVisitors);
  uint64_t next = 0;
  for (size_t v = 0; v < visitors.size(); ++v) {
    const double now = static_cast<double>(v) / static_cast<double>(o.train_visits());
    do visitors[v] = visitor(random.uniform(next++));
    while (static_cast<double>(born[static_cast<size_t>(visitors[v])]) > now);
  }
  return visitors;
}

// log(popularity) of mean 0 and variance 1, times `weight`.
std::vector<float> popularity_shift(const std::vector<float>& popularity, double weight) {
  std::vector<double> logs;
  for (const float p : popularity) logs.push_back(std::log(static_cast<double>(p)));
  const double n = static_cast<double>(logs.size()), mean = std::accumulate(logs.begin(), logs.end(), 0.0) / n;
  double square = 0;
  for (const double x : logs) square += (x - mean) * (x - mean);
  std::vector<float> shift;
  for (const double x : logs)  // where all are equally popular, nothing is shifted
    shift.push_back(square > 0 ? static_cast<float>(weight * (x - mean) / std::sqrt(square / n)) : 0.0f);
  return shift;
}

}  // namespace

SimulatedWorld make_world(const SimulatorOptions& o) {
  SimulatedWorld world;
  LatentModel& truth = world.truth;
  const double root = std::sqrt(static_cast<double>(o.latent));
  const std::vector<float> long_run = normals(o.seed, kUserLatent, o.users * o.latent, 1.0);
  world.visits.user = draw_visitors(o);
  if (o.drifting()) {
    world.catalogue = make_catalogue(o);
    world.interests = drift_interests(o, world.visits.user, long_run);
    world.visits.row = world.interests.row_of;
    truth.user = std::move(world.interests.vectors);
  } else {
    world.visits.row.assign(world.visits.user.begin(), world.visits.user.end());
    world.interests.offsets.resize(static_cast<size_t>(o.users) + 1);
    std::iota(world.interests.offsets.begin(), world.interests.offsets.end(), 0);
    truth.user = long_run;
  }
  truth.latent = o.latent;
  truth.item = normals(o.seed, kItemLatent, o.items * o.latent, 1.0 / root);
  if (o.drifting()) gather_in_themes(o, truth.item);
  truth.quality = normals(o.seed, kItemQuality, o.items, kQuality);
  truth.task = normals(o.seed, kTask, o.tasks * o.latent, 0.4);  // tasks weigh the same tastes differently
  for (float& m : truth.task) m += 1;
  truth.offset.assign(static_cast<size_t>(o.tasks), 0);
  truth.gain.assign(static_cast<size_t>(o.tasks), static_cast<float>(kGain));
  const Pairs pairs = random_pairs(o, world.interests.offsets.back());
  for (int64_t t = 0; t < o.tasks; ++t) {
    set_rate(truth, t, kClickRate * std::pow(kRarer, static_cast<double>(t)), pairs);
    world.value_weights.push_back(static_cast<float>(t + 1));  // the rarer, the more it is worth
  }
  world.popularity = make_popularity(o, truth.quality);
  world.popularity_cdf = cumulative(world.popularity);
  world.ranker = noisy_view(truth, world.interests.offsets, o.seed, kRankerUser, o.ranker_noise);
  for (int64_t t = 0; t < o.tasks; ++t) calibrate(world.ranker, truth, t, pairs);
  if (o.ranker_popularity_bias != 0) world.ranker.shift = popularity_shift(world.popularity, o.ranker_popularity_bias);
  world.policy = noisy_view(truth, world.interests.offsets, o.seed, kPolicyUser, kPolicyNoise);

  world.propensity = normals(o.seed, kPropensity, o.users, o.propensity_spread);
  for (float& x : world.propensity) x = std::min(1.0f, 0.7f * std::exp(x));
  for (int64_t p = 0; p < o.positions; ++p)
    world.examination.push_back(static_cast<float>(std::pow(static_cast<double>(p + 1), -o.examination_decay)));

  world.user_features = make_features(o, long_run, o.users, 1.0, kUserFeatures, "group");
  world.item_features = make_features(o, truth.item, o.items, root, kItemFeatures, "genre");
  return world;
}

void write_truth(const std::string& path, const SimulatedWorld& world, const SimulatorOptions& o) {
  SafetensorsWriter writer;
  const auto add_model = [&](const std::string& prefix, const LatentModel& model) {
    writer.add(prefix + ".user", model.user.data(), {world.interests.offsets.back(), o.latent});
    writer.add(prefix + ".item", model.item.data(), {o.items, o.latent});
    writer.add(prefix + ".quality", model.quality.data(), {o.items});
    writer.add(prefix + ".task", model.task.data(), {o.tasks, o.latent});
    writer.add(prefix + ".offset", model.offset.data(), {o.tasks});
    writer.add(prefix + ".gain", model.gain.data(), {o.tasks});
    if (!model.shift.empty()) writer.add(prefix + ".shift", model.shift.data(), {o.items});
  };
  add_model("truth", world.truth);
  add_model("ranker", world.ranker);
  const auto time_of = [&](float part_of_train) {
    return Visits::time(0) + part_of_train * (Visits::time(o.train_visits()) - Visits::time(0));
  };
  std::vector<double> since, born, gone;
  if (o.drifting()) {
    for (const int64_t visit : world.interests.visit) since.push_back(Visits::time(std::max<int64_t>(visit, 0)));
    for (size_t i = 0; i < static_cast<size_t>(o.items); ++i) {
      born.push_back(time_of(world.catalogue.born[i]));
      gone.push_back(time_of(world.catalogue.gone[i]));
    }
    writer.add("user_offsets", world.interests.offsets.data(), {o.users + 1});
    writer.add("user_since", since.data(), {static_cast<int64_t>(since.size())});
    writer.add("item_born", born.data(), {o.items});
    writer.add("item_gone", gone.data(), {o.items});
  }
  writer.add("popularity", world.popularity.data(), {o.items});
  writer.add("examination", world.examination.data(), {o.positions});
  writer.add("propensity", world.propensity.data(), {o.users});
  writer.add("value_weights", world.value_weights.data(), {o.tasks});
  writer.metadata("seed", std::to_string(o.seed));
  writer.write(path);
}

}  // namespace tt
