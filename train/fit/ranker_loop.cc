#include <twotower/tensor/error.h>
#include <twotower/tensor/random.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/fit/ranker_loop.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace tt {

namespace {

constexpr int64_t kTile = 256;  // users whose best items are looked for at once

// n of the rows 0 .. rows-1 that are not in `taken` (ascending), each set of n as likely as any other; ascending. Fewer
// where fewer are left. Floyd's algorithm (Bentley and Floyd, "A sample of brilliance", CACM 1987) draws places among
// the rows that are left; these then become rows. The cost does not grow with the corpus.
std::vector<int64_t> draw_uniformly(int64_t rows, std::span<const int64_t> taken, int64_t n, const Philox& random) {
  const int64_t left = rows - static_cast<int64_t>(taken.size());
  n = std::min(n, left);
  std::set<int64_t> places;
  for (int64_t last = left - n; last < left; ++last) {
    const auto place = static_cast<int64_t>(random.below(static_cast<uint64_t>(last), static_cast<uint64_t>(last) + 1));
    if (!places.insert(place).second) places.insert(last);
  }
  std::vector<int64_t> drawn;
  int64_t before = 0;  // taken rows before the present one
  for (const int64_t place : places) {
    while (before < static_cast<int64_t>(taken.size()) && taken[static_cast<size_t>(before)] <= place + before)
      ++before;
    drawn.push_back(place + before);
  }
  return drawn;
}

// How many pairs the i-th of the users asked about gets. Differences of running sums, so that what does not come out
// even is spread over the users.
struct Quota {
  double per_user, uniform_share;
  double until(int64_t i) const { return std::floor(per_user * static_cast<double>(i) + 1e-6); }  // the first i users
  double uniform_until(int64_t i) const { return std::floor(uniform_share * until(i) + 1e-6); }
  int64_t uniform(int64_t i) const { return static_cast<int64_t>(uniform_until(i + 1) - uniform_until(i)); }
  int64_t policy(int64_t i) const { return static_cast<int64_t>(until(i + 1) - until(i)) - uniform(i); }
};

}  // namespace

double end_of_training(const Dataset& data) {
  const Impressions& train = data.split(Split::train);
  return *std::max_element(train.time, train.time + train.size);
}

UserItems scored_items(const Dataset& data, const RankerPairs& asked) {
  std::vector<std::vector<int32_t>> of(static_cast<size_t>(data.num_users()));
  const Impressions& train = data.split(Split::train);
  if (train.ranker_scores)
    for (int64_t i = 0; i < train.size; ++i) of[static_cast<size_t>(train.user[i])].push_back(train.item[i]);
  for (size_t i = 0; i < asked.user.size(); ++i) of[static_cast<size_t>(asked.user[i])].push_back(asked.item[i]);
  UserItems out;
  out.offsets.push_back(0);
  for (std::vector<int32_t>& items : of) {
    std::sort(items.begin(), items.end());
    out.items.insert(out.items.end(), items.begin(), std::unique(items.begin(), items.end()));
    out.offsets.push_back(static_cast<int64_t>(out.items.size()));
  }
  return out;
}

CandidatePairs choose_candidates(const ServedDataset& served, std::span<const int64_t> users, const UserItems& scored,
                                 const CandidateOptions& options) {
  const std::string where = "candidates";
  check(options.per_user >= 1, where, "asks for ", options.per_user, " pairs a user; ask for 1 or more");
  check(options.share >= 0 && options.share <= 1, where, "the share of all pairs is ", options.share,
        ", outside [0, 1]; 0.01 is one pair in a hundred");
  check(options.uniform >= 0 && options.uniform <= 1, where, "the uniform share is ", options.uniform,
        ", outside [0, 1]; 0.5 draws half of a user's pairs uniformly");
  const Dataset& data = served.data();
  const int64_t items = data.num_items(), asked = static_cast<int64_t>(users.size());
  const Quota quota{
      options.share > 0 ? options.share * static_cast<double>(items) : static_cast<double>(options.per_user),
      options.uniform};
  const std::vector<int64_t> history = data.train_actions();

  std::vector<int64_t> not_on_offer;
  for (int64_t item = 0; item < items; ++item)
    if (!data.available(item)) not_on_offer.push_back(item);

  CandidatePairs out;
  const auto add = [&](int64_t user, int64_t item, bool uniform) {
    out.pairs.user.push_back(static_cast<int32_t>(user)), out.pairs.item.push_back(static_cast<int32_t>(item));
    out.uniform.push_back(uniform);
  };
  Session session;
  TopItems top;
  std::vector<UserMoment> tile;
  for (int64_t first = 0; first < asked; first += kTile) {
    int64_t k = 1;
    tile.clear();
    for (int64_t i = first; i < std::min(first + kTile, asked); ++i) {
      const int64_t user = users[static_cast<size_t>(i)];
      check(user >= 0 && user < data.num_users(), where, "user row ", user, " is out of range, there are ",
            data.num_users(), " users");
      tile.push_back({user, history[static_cast<size_t>(user)]});
      k = std::max(k, std::min(quota.policy(i), items));
    }
    // Another order of the policy's candidates, such as by how much an ensemble of rankers disagrees on them, would be
    // put here.
    served.top(session, tile, {.k = k, .rerank = false}, &scored, top);
    for (size_t place = 0; place < tile.size(); ++place) {
      const int64_t user = tile[place].user, i = first + static_cast<int64_t>(place);
      const auto known = scored.of(user);
      std::vector<int64_t> taken = not_on_offer;
      taken.insert(taken.end(), known.begin(), known.end());
      const auto best = top.items(static_cast<int64_t>(place));
      for (const int64_t item : best.first(std::min(best.size(), static_cast<size_t>(quota.policy(i))))) {
        add(user, item, false);
        taken.push_back(item);
      }
      std::sort(taken.begin(), taken.end());
      taken.erase(std::unique(taken.begin(), taken.end()), taken.end());  // scored once, and no longer on offer
      const Philox random(options.seed, static_cast<uint64_t>(user));
      for (const int64_t item : draw_uniformly(items, taken, quota.uniform(i), random)) add(user, item, true);
    }
  }
  return out;
}

RankerPairs ask_ranker(const Pairs& pairs, int64_t tasks, const RankerCallback& ranker) {
  check(pairs.user.size() == pairs.item.size(), "ranker", "there are ", pairs.user.size(), " users and ",
        pairs.item.size(), " items; a pair has one of each");
  check(tasks >= 1, "ranker", "asks for ", tasks, " tasks; a ranker says something of one at least");
  RankerPairs questions{pairs.user, pairs.item, std::vector<float>(pairs.user.size())};
  RankerPairs out;
  add_ranker_pairs(out, questions);  // in order, each once
  // A score that the ranker leaves out stays no number.
  out.scores.assign(out.user.size() * static_cast<size_t>(tasks), std::numeric_limits<float>::quiet_NaN());
  for (size_t begin = 0, end; begin < out.user.size(); begin = end) {
    for (end = begin; end < out.user.size() && out.user[end] == out.user[begin];) ++end;
    const std::vector<int64_t> items(out.item.begin() + static_cast<std::ptrdiff_t>(begin),
                                     out.item.begin() + static_cast<std::ptrdiff_t>(end));
    const std::span<float> scores(out.scores.data() + begin * static_cast<size_t>(tasks),
                                  items.size() * static_cast<size_t>(tasks));
    ranker(out.user[begin], items, scores);
    for (size_t i = 0; i < scores.size(); ++i)
      check(scores[i] >= 0 && scores[i] <= 1, "ranker", "says ", scores[i], " of task ", i % static_cast<size_t>(tasks),
            ", user row ", out.user[begin], ", item row ", items[i / static_cast<size_t>(tasks)],
            "; a score is a probability, in [0, 1]");
  }
  return out;
}

}  // namespace tt
