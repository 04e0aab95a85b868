#include <twotower/tensor/error.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/data/dataset_writer.h>
#include <twotower/train/simulate/simulated_world.h>
#include <twotower/train/simulate/simulator.h>
#include <twotower/train/simulate/streams.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tt {

namespace {

constexpr int64_t kDraws = 64;             // candidates that the policy draws for a slate
constexpr int64_t kSparse[] = {1, 3, 10};  // training rows that the three groups of sparse users keep
constexpr double kExplore = 0.25;          // share of them drawn uniformly

int64_t draw(const std::vector<double>& cdf, double u) {
  return std::min<int64_t>(std::upper_bound(cdf.begin(), cdf.end(), u) - cdf.begin(),
                           static_cast<int64_t>(cdf.size()) - 1);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double gumbel(double u) { return -std::log(-std::log(u + 1e-300) + 1e-300); }

// One visit: what the policy shows, in which order, and what the user does. Its random numbers come from a stream of
// its own, of which the first tells who comes, so visits can be made in any order.
class Visit {
 public:
  Visit(const SimulatedWorld& world, const SimulatorOptions& o, int64_t number)
      : world_(world),
        o_(o),
        random_(o.seed, kVisit + static_cast<uint64_t>(number)),
        noise_(o.seed, kScoreNoise + static_cast<uint64_t>(number)),
        now_(static_cast<double>(number) / static_cast<double>(o.train_visits())),
        user_(world.visits.user[static_cast<size_t>(number)]),
        row_(world.visits.row[static_cast<size_t>(number)]) {}

  // Candidates by popularity, the best of them by a noisy view of relevance, shown with popular items first.
  const std::vector<int64_t>& slate() {
    const LatentScorer belief = world_.policy.scorer();
    const auto slots = static_cast<size_t>(o_.positions);
    std::vector<int64_t> items;
    for (int64_t k = 0; k < kDraws || items.size() < slots; ++k) {
      items.push_back(candidate(k >= 4 * kDraws));
      if (k + 1 >= kDraws) {
        std::sort(items.begin(), items.end());
        items.erase(std::unique(items.begin(), items.end()), items.end());
      }
    }
    keep_best(items, slots,
              [&](int64_t i) { return o_.policy_relevance * 1.7 * belief.affinity(row_, i, 0) + gumbel(uniform()); });
    keep_best(items, slots, [&](int64_t i) {
      const double popularity =
          static_cast<double>(world_.popularity[static_cast<size_t>(i)]) * world_.catalogue.freshness(i, now_);
      return o_.policy_order * std::log(popularity) + gumbel(uniform());
    });
    return slate_ = std::move(items);
  }

  // An item that is not examined gets no label at all; the tasks are independent given that it is.
  void act(int64_t item, size_t position, float* labels, float* scores) {
    const LatentScorer truth = world_.truth.scorer(), ranker = world_.ranker.scorer();
    const bool examined =
        uniform() < static_cast<double>(world_.examination[position]) * world_.propensity[static_cast<size_t>(user_)];
    for (int64_t t = 0; t < o_.tasks; ++t) {
      const double u = uniform();
      labels[t] = examined && u < truth.probability(row_, item, t) ? 1.0f : 0.0f;
      if (o_.score_noise == 0) {
        scores[t] = static_cast<float>(ranker.probability(row_, item, t));
      } else {
        const double error = noise_.normal(position * static_cast<uint64_t>(o_.tasks) + static_cast<uint64_t>(t));
        scores[t] = static_cast<float>(sigmoid(ranker.logit(row_, item, t) + o_.score_noise * error));
      }
    }
  }

 private:
  // By popularity at its age, or any item on offer. After many draws of the same few popular items, any that is not
  // there yet will do.
  int64_t candidate(bool anything) {
    for (;;) {
      const double u = uniform();
      if (uniform() < kExplore || anything) {
        const auto item = static_cast<int64_t>(u * static_cast<double>(o_.items));
        if (world_.catalogue.offered(item, now_)) return item;
      } else {
        const int64_t item = draw(world_.popularity_cdf, u);
        if (!o_.drifting() || uniform() < world_.catalogue.freshness(item, now_)) return item;
      }
    }
  }

  double uniform() { return random_.uniform(next_++); }

  template <class Score>
  static void keep_best(std::vector<int64_t>& items, size_t count, Score&& score) {
    std::vector<std::pair<double, int64_t>> scored;
    scored.reserve(items.size());
    for (const int64_t i : items) scored.emplace_back(-score(i), i);
    std::sort(scored.begin(), scored.end());
    items.clear();
    for (size_t k = 0; k < std::min(count, scored.size()); ++k) items.push_back(scored[k].second);
  }

  const SimulatedWorld& world_;
  const SimulatorOptions& o_;
  Philox random_, noise_;
  uint64_t next_ = 1;
  double now_;  // in parts of the training log
  int64_t user_, row_;
  std::vector<int64_t> slate_;
};

InteractionColumns make_log(const SimulatedWorld& world, const SimulatorOptions& o) {
  const int64_t n = o.impressions;
  const auto size = static_cast<size_t>(n), labels = static_cast<size_t>(n * o.tasks);
  InteractionColumns log;
  log.user.resize(size), log.item.resize(size), log.position.resize(size), log.time.resize(size);
  log.labels.resize(labels), log.ranker_scores.resize(labels);
  parallel_for(0, o.visits(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      Visit visit(world, o, v);
      const std::vector<int64_t>& slate = visit.slate();
      for (size_t p = 0; p < slate.size(); ++p) {
        const auto row = static_cast<size_t>(v * o.positions) + p;
        if (row >= size) break;  // the last slate may be shorter
        log.user[row] = world.visits.user[static_cast<size_t>(v)];
        log.item[row] = static_cast<int32_t>(slate[p]);
        log.position[row] = static_cast<int32_t>(p);
        log.time[row] = Visits::time(v);
        const size_t at = row * static_cast<size_t>(o.tasks);
        visit.act(slate[p], p, &log.labels[at], &log.ranker_scores[at]);
      }
    }
  });
  return log;
}

// How many of their training rows users keep, a number a user; beyond any log where it is all.
std::vector<int64_t> kept_rows(const SimulatorOptions& o) {
  std::vector<int64_t> kept(static_cast<size_t>(o.users), o.impressions), order(kept.size());
  std::iota(order.begin(), order.end(), 0);
  Philox(o.seed, kSparseUsers).shuffle(order.data(), o.users);
  const auto group = static_cast<size_t>(o.sparse_users * static_cast<double>(o.users) / 3 + 1e-6);
  for (size_t i = 0; i < 3 * group; ++i) kept[static_cast<size_t>(order[i])] = kSparse[i / group];
  return kept;
}

// The first 80% of the visits are train. Later ones are valid or test by who comes: simulator.h says why.
void split_visits(const InteractionColumns& log, const SimulatorOptions& o, DatasetContent& content) {
  const int64_t train = std::min(o.impressions, o.train_visits() * o.positions);
  std::vector<int64_t> rows[3], left = kept_rows(o);
  for (int64_t i = train; i-- > 0;)  // the newest first
    if (left[static_cast<size_t>(log.user[static_cast<size_t>(i)])]-- > 0) rows[0].push_back(i);
  std::reverse(rows[0].begin(), rows[0].end());
  for (int64_t i = train; i < o.impressions; ++i) rows[1 + log.user[static_cast<size_t>(i)] % 2].push_back(i);
  content.train = select_rows(log, rows[0], o.tasks);
  content.valid = select_rows(log, rows[1], o.tasks);
  content.test = select_rows(log, rows[2], o.tasks);
  content.protocol =
      "by time and user: the first 80% of the visits are train; of the later ones, those of users with an even number, "
      "who choose epochs and settings, are valid, and those of the others, who judge, test";
}

std::string task_name(int64_t t) {
  constexpr const char* names[] = {"click", "like", "share", "follow"};
  return t < 4 ? names[t] : "task" + std::to_string(t);
}

}  // namespace

void check_options(const SimulatorOptions& o) {
  const auto range = [](const char* name, double value, double low, double high) {
    check(value >= low && value <= high, "simulate", "--", name, " is ", value, ", outside [", low, ", ", high, "]");
  };
  range("users", static_cast<double>(o.users), 2, 1e9);
  range("items", static_cast<double>(o.items), 2, 1e9);
  range("impressions", static_cast<double>(o.impressions), 10, 1e10);
  range("tasks", static_cast<double>(o.tasks), 1, 16);
  range("positions", static_cast<double>(o.positions), 1, 1000);
  range("latent", static_cast<double>(o.latent), 1, 256);
  range("features", static_cast<double>(o.features), 0, 4096);
  range("feature-noise", o.feature_noise, 0, 100);
  range("zipf", o.zipf, 0, 4);
  range("policy-relevance", o.policy_relevance, 0, 100);
  range("policy-order", o.policy_order, 0, 100);
  range("examination-decay", o.examination_decay, 0, 10);
  range("propensity-spread", o.propensity_spread, 0, 4);
  range("ranker-noise", o.ranker_noise, 0, 10);
  range("ranker-popularity-bias", o.ranker_popularity_bias, -10, 10);
  range("score-noise", o.score_noise, 0, 10);
  range("sparse-users", o.sparse_users, 0, 1);
  check(o.world == "static" || o.drifting(), "simulate", "--world \"", o.world,
        "\" is unknown; choose static or drifting");
  check(o.positions <= o.items, "simulate", "a slate of ", o.positions, " positions needs as many items, there are ",
        o.items, "; raise --items or lower --positions");
}

void simulate(const std::string& dir, const SimulatorOptions& o) {
  check_options(o);
  check_dataset_target(dir);
  const SimulatedWorld world = make_world(o);
  const InteractionColumns log = make_log(world, o);

  DatasetContent content;
  content.source =
      "simulated" + std::string(o.drifting() ? ", drifting," : "") + " with seed " + std::to_string(o.seed);
  content.value_weights = world.value_weights;
  for (int64_t t = 0; t < o.tasks; ++t) content.tasks.push_back(task_name(t));
  for (int64_t u = 0; u < o.users; ++u) content.user_ids.push_back("u" + std::to_string(u));
  for (int64_t i = 0; i < o.items; ++i) content.item_ids.push_back("i" + std::to_string(i));
  content.user_features = world.user_features;
  content.item_features = world.item_features;
  content.item_available = world.catalogue.available();
  split_visits(log, o, content);
  content.also_write = [&](const std::string& folder) { write_truth(folder + "/truth.safetensors", world, o); };
  write_dataset(dir, content);
}

}  // namespace tt
