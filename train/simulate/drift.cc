#include <twotower/tensor/error.h>
#include <twotower/tensor/random.h>
#include <twotower/train/simulate/drift.h>
#include <twotower/train/simulate/streams.h>

#include <algorithm>
#include <cmath>

namespace tt {

namespace {

// Items. Those that are on offer at a time are kLifetime / (kLifetime + 1) of all, at any time.
constexpr double kLifetime = 2;          // of an item, in training logs: two thirds are there at the start
constexpr double kLifetimeSpread = 0.5;  // log-normal
constexpr double kRise = 0.03;           // how long a new item takes to become known
constexpr double kUnknown = 0.1;         // the share of its popularity that it has until then
constexpr double kFade = 2;              // popularity falls to exp(-kFade) over the lifetime

// Users.
constexpr double kUsersFromStart = 0.6;  // the others arrive evenly until the end of the test period
constexpr double kEnd = 1.25;

// Interests are a sum of four parts, which have these variances. What somebody came for outweighs what they like in
// general.
constexpr double kLongRun = 0.3;    // what a user always likes; the only part that features show
constexpr double kSlow = 0.2;       // tastes that change with the seasons
constexpr double kIntent = 2;       // the theme of a session: a trip to plan, a mood
constexpr double kVisitNews = 0.1;  // what is new at each visit
constexpr double kSlowTime = 0.5;   // correlation time of the slow part, in training logs
constexpr double kGoesOn = 0.8;     // the chance that the next visit belongs to the same session: five on average
constexpr int64_t kThemes = 20;     // what sessions can be about, and items are about
constexpr double kOfTheme = 0.8;    // the share of the variance of item vectors that their themes explain

// [kThemes, L], of variance 1.
std::vector<float> theme_centres(const SimulatorOptions& o) {
  std::vector<float> centres(static_cast<size_t>(kThemes * o.latent));
  Philox(o.seed, kThemeCentres).fill_normal(centres.data(), kThemes * o.latent, 0.0f, 1.0f);
  return centres;
}

}  // namespace

bool Catalogue::offered(int64_t item, double time) const {
  if (born.empty()) return true;
  const auto i = static_cast<size_t>(item);
  const double now = std::min(time, 1.0);  // the shelves stay as they are for the test period
  return born[i] <= now && now < gone[i];
}

double Catalogue::freshness(int64_t item, double time) const {
  if (born.empty()) return 1;
  if (!offered(item, time)) return 0;
  const auto i = static_cast<size_t>(item);
  const double age = std::min(time, 1.0) - born[i], life = gone[i] - born[i];
  return (kUnknown + (1 - kUnknown) * std::min(1.0, age / kRise)) * std::exp(-kFade * age / life);
}

std::vector<uint8_t> Catalogue::available() const {
  std::vector<uint8_t> out(born.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = offered(static_cast<int64_t>(i), 1);
  return out;
}

Catalogue make_catalogue(const SimulatorOptions& o) {
  Catalogue out;
  const Philox random(o.seed, kItemLives);
  std::vector<std::pair<float, int>> changes;
  for (int64_t i = 0; i < o.items; ++i) {
    const auto at = static_cast<uint64_t>(4 * i);
    const double life = kLifetime * std::exp(kLifetimeSpread * random.normal(at));
    const double born = random.uniform(at + 2) * (1 + life) - life;  // alive at some time between 0 and 1
    out.born.push_back(static_cast<float>(born)), out.gone.push_back(static_cast<float>(born + life));
    changes.emplace_back(out.born.back(), 1), changes.emplace_back(out.gone.back(), -1);
  }
  std::sort(changes.begin(), changes.end());
  int64_t there = 0, fewest = changes.front().first > 0 ? 0 : o.items;
  for (size_t c = 0; c < changes.size() && changes[c].first <= 1; ++c) {
    there += changes[c].second;
    if (c + 1 == changes.size() || changes[c + 1].first > 0) fewest = std::min(fewest, there);
  }
  check(fewest >= o.positions, "simulate", "of the ", o.items, " items that come and go only ", fewest,
        " are on offer at some time, a slate of ", o.positions,
        " positions needs as many; raise --items, lower "
        "--positions, or take --world static");
  return out;
}

std::vector<float> user_births(const SimulatorOptions& o) {
  std::vector<float> born;
  const Philox random(o.seed, kUserBirths);
  for (int64_t u = 0; u < o.users; ++u) {
    const double late = (random.uniform(static_cast<uint64_t>(u)) - kUsersFromStart) / (1 - kUsersFromStart);
    born.push_back(static_cast<float>(kEnd * std::max(0.0, late)));
  }
  *std::min_element(born.begin(), born.end()) = 0;  // somebody is there
  return born;
}

void gather_in_themes(const SimulatorOptions& o, std::vector<float>& items) {
  const std::vector<float> centres = theme_centres(o);
  const Philox random(o.seed, kItemThemes);
  for (int64_t i = 0; i < o.items; ++i) {
    const auto theme = static_cast<int64_t>(random.below(static_cast<uint64_t>(i), kThemes));
    for (int64_t k = 0; k < o.latent; ++k) {
      float& x = items[static_cast<size_t>(i * o.latent + k)];
      const double centre =
          centres[static_cast<size_t>(theme * o.latent + k)] / std::sqrt(static_cast<double>(o.latent));
      x = static_cast<float>(std::sqrt(1 - kOfTheme) * x + std::sqrt(kOfTheme) * centre);
    }
  }
}

// The slow part is an Ornstein-Uhlenbeck process in the time of the log; the theme stays as long as the session.
Interests drift_interests(const SimulatorOptions& o, const std::vector<int32_t>& visitors,
                          const std::vector<float>& long_run) {
  const auto latent = static_cast<size_t>(o.latent);
  Interests out;
  out.offsets.assign(static_cast<size_t>(o.users) + 1, 0);
  for (const int32_t user : visitors) ++out.offsets[static_cast<size_t>(user) + 1];
  for (size_t u = 0; u < static_cast<size_t>(o.users); ++u)
    out.offsets[u + 1] = out.offsets[u] + std::max<int64_t>(1, out.offsets[u + 1]);
  const auto rows = static_cast<size_t>(out.offsets.back());
  out.visit.assign(rows, -1);
  out.row_of.resize(visitors.size());
  out.vectors.resize(rows * latent);

  const Philox sessions(o.seed, kSessions), themes(o.seed, kSessionThemes), slow_news(o.seed, kSlowInterest),
      visit_news(o.seed, kVisitInterest);
  const std::vector<float> centres = theme_centres(o);
  std::vector<float> slow(static_cast<size_t>(o.users) * latent);
  std::vector<size_t> theme(static_cast<size_t>(o.users));
  std::vector<int64_t> next(out.offsets.begin(), out.offsets.end() - 1);
  for (size_t v = 0; v < visitors.size(); ++v) {
    const auto user = static_cast<size_t>(visitors[v]);
    const int64_t row = next[user]++;
    out.visit[static_cast<size_t>(row)] = static_cast<int64_t>(v);
    out.row_of[v] = row;
    const bool first = row == out.offsets[user], goes_on = !first && sessions.uniform(v) < kGoesOn;
    const int64_t gap = first ? 0 : static_cast<int64_t>(v) - out.visit[static_cast<size_t>(row - 1)];
    const double passed = static_cast<double>(gap) / static_cast<double>(o.train_visits());
    const double kept = first ? 0 : std::exp(-passed / kSlowTime);
    if (!goes_on) theme[user] = static_cast<size_t>(themes.below(v, kThemes));
    for (size_t k = 0; k < latent; ++k) {
      float& drifting = slow[user * latent + k];
      drifting = static_cast<float>(kept * drifting + std::sqrt(1 - kept * kept) * slow_news.normal(v * latent + k));
      out.vectors[static_cast<size_t>(row) * latent + k] =
          static_cast<float>(std::sqrt(kLongRun) * long_run[user * latent + k] + std::sqrt(kSlow) * drifting +
                             std::sqrt(kIntent) * centres[theme[user] * latent + k] +
                             std::sqrt(kVisitNews) * visit_news.normal(v * latent + k));
    }
  }
  for (size_t u = 0; u < static_cast<size_t>(o.users); ++u)
    if (out.visit[static_cast<size_t>(out.offsets[u])] < 0)
      for (size_t k = 0; k < latent; ++k)
        out.vectors[static_cast<size_t>(out.offsets[u]) * latent + k] =
            static_cast<float>(std::sqrt(kLongRun)) * long_run[u * latent + k];
  return out;
}

}  // namespace tt
