#include <twotower/tensor/gemm.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/evaluate/rankings/rankings.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <unordered_map>

namespace tt {
namespace {

constexpr int64_t kUserTile = 256;   // users at a time
constexpr int64_t kRankTile = 2048;  // items whose scores are held at a time to count who comes first

std::span<const int32_t> seen_by(const UserMoment& m, const UserItems* seen) {
  return seen && m.user >= 0 ? seen->of(m.user) : std::span<const int32_t>();
}

// Fills row q of `out` with what next() yields (item and score) until k are found or next() is at its end (item -1).
template <class Next>
void fill_row(TopItems& out, int64_t q, std::span<const int32_t> seen, Next next) {
  int64_t found = 0;
  for (auto [item, score] = next(); item >= 0; std::tie(item, score) = next()) {
    if (std::binary_search(seen.begin(), seen.end(), item)) continue;
    out.rows[static_cast<size_t>(q * out.k + found)] = item;
    out.values[static_cast<size_t>(q * out.k + found)] = score;
    if (++found == out.k) break;
  }
  out.counts[static_cast<size_t>(q)] = found;
  for (int64_t r = found; r < out.k; ++r) {
    out.rows[static_cast<size_t>(q * out.k + r)] = -1;
    out.values[static_cast<size_t>(q * out.k + r)] = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace

void ModelRanking::top(std::span<const UserMoment> users, int64_t k, const UserItems* seen, TopItems& out) {
  ask_.k = k;
  served_.top(session_, users, ask_, seen, out);
}

// The best-placed of each user's relevant items is found first; then whatever comes before it is counted.
void ModelRanking::first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                               const std::vector<int64_t>& after, int64_t* ranks) {
  if (served_.recommender().reranks(ask_)) {
    std::fill_n(ranks, users.size(), 0);
    return;
  }
  const Tensor<const float> items = served_.item_vectors();
  const Dataset& data = served_.data();
  const int64_t d = items.cols();
  std::vector<float> u(static_cast<size_t>(kUserTile * d)), scores(static_cast<size_t>(kUserTile * kRankTile));
  struct Best {
    int64_t item;
    float score;
  };
  std::vector<Best> best(static_cast<size_t>(kUserTile));
  for (size_t lo = 0; lo < users.size(); lo += kUserTile) {
    const auto tile = users.subspan(lo, std::min<size_t>(kUserTile, users.size() - lo));
    const auto n = static_cast<int64_t>(tile.size());
    served_.encode(session_, tile, u.data());
    for (int64_t q = 0; q < n; ++q) {
      Best& b = best[static_cast<size_t>(q)] = {-1, 0};
      const size_t list = lo + static_cast<size_t>(q);
      for (int64_t at = relevant.offsets[list]; at < relevant.offsets[list + 1]; ++at) {
        const int64_t item = relevant.rows[static_cast<size_t>(at)];
        const float score = std::inner_product(items.row(item), items.row(item) + d, u.data() + q * d, 0.0f);
        if (b.item < 0 || score > b.score || (score == b.score && item < b.item)) b = {item, score};
      }
      ranks[lo + static_cast<size_t>(q)] = b.item < 0 ? 0 : 1;
    }
    for (int64_t first = 0; first < items.rows(); first += kRankTile) {
      const int64_t m = std::min(kRankTile, items.rows() - first);
      gemm(false, true, n, m, d, 1.0f, u.data(), d, items.row(first), d, 0.0f, scores.data(), m);  // [n, m]
      parallel_for(0, n, 16, [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end; ++q) {
          const Best b = best[static_cast<size_t>(q)];
          if (b.item < 0) continue;
          const float* row = scores.data() + q * m;
          const auto before = [&](int64_t i) {  // item first + i comes before the best relevant one
            return first + i != b.item && data.available(first + i) &&
                   (row[i] > b.score || (row[i] == b.score && first + i < b.item));
          };
          int64_t ahead = 0;
          for (int64_t i = 0; i < m; ++i) ahead += before(i);
          const auto list = seen_by(tile[static_cast<size_t>(q)], seen);
          for (auto s = std::lower_bound(list.begin(), list.end(), first); s != list.end() && *s < first + m; ++s)
            ahead -= before(*s - first);
          ranks[lo + static_cast<size_t>(q)] += ahead;
        }
      });
    }
  }
  // The two ways of multiplying may round a near tie apart.
  for (size_t i = 0; i < users.size(); ++i) ranks[i] = std::max(ranks[i], after[i] + 1);
}

bool ModelRanking::score(const UserMoment& user, std::span<const int64_t> items, float* out) {
  served_.recommender().score(session_, served_.user(user), items, out, ask_);
  return true;
}

PopularityRanking::PopularityRanking(const Dataset& data, double share)
    : order_(static_cast<size_t>(data.num_items())), place_(order_.size(), std::numeric_limits<int32_t>::max()) {
  const int64_t* ever = data.train_positives();
  positives_.assign(ever, ever + data.num_items());
  if (share < 1) {
    const Impressions& log = data.split(Split::train);
    const auto [first, last] = std::minmax_element(log.time, log.time + log.size);
    const double since = *last - share * (*last - *first);
    std::fill(positives_.begin(), positives_.end(), 0);
    for (int64_t i = 0, tasks = data.num_tasks(); i < log.size; ++i)
      if (log.time[i] >= since && acted_on(log.labels + i * tasks, tasks))
        ++positives_[static_cast<size_t>(log.item[i])];
  }
  std::iota(order_.begin(), order_.end(), 0);
  std::erase_if(order_, [&](int32_t item) { return !data.available(item); });
  const auto key = [&](int32_t item) { return std::pair(positives_[static_cast<size_t>(item)], ever[item]); };
  std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) { return key(a) > key(b); });
  for (size_t p = 0; p < order_.size(); ++p) place_[static_cast<size_t>(order_[p])] = static_cast<int32_t>(p);
}

void PopularityRanking::top(std::span<const UserMoment> users, int64_t k, const UserItems* seen, TopItems& out) {
  out.resize(static_cast<int64_t>(users.size()), k);
  parallel_for(0, out.queries(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      size_t at = 0;
      fill_row(out, q, seen_by(users[static_cast<size_t>(q)], seen), [&]() -> std::pair<int64_t, float> {
        if (at == order_.size()) return {-1, 0};
        const int32_t item = order_[at++];
        return {item, static_cast<float>(positives_[static_cast<size_t>(item)])};
      });
    }
  });
}

void PopularityRanking::first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                                    const std::vector<int64_t>&, int64_t* ranks) {
  for (size_t q = 0; q < users.size(); ++q) {
    int32_t best = std::numeric_limits<int32_t>::max();
    for (int64_t at = relevant.offsets[q]; at < relevant.offsets[q + 1]; ++at)
      best = std::min(best, place_[static_cast<size_t>(relevant.rows[static_cast<size_t>(at)])]);
    const auto list = seen_by(users[q], seen);
    ranks[q] = 1 + best - std::count_if(list.begin(), list.end(), [&](int32_t item) {
                 return place_[static_cast<size_t>(item)] < best;
               });
  }
}

RandomRanking::RandomRanking(const Dataset& data, uint64_t seed) : data_(data), seed_(seed) {
  for (int64_t i = 0; i < data.num_items(); ++i)
    if (data.available(i)) corpus_.push_back(i);
}

void RandomRanking::top(std::span<const UserMoment> users, int64_t k, const UserItems* seen, TopItems& out) {
  out.resize(static_cast<int64_t>(users.size()), k);
  parallel_for(0, out.queries(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const UserMoment& m = users[static_cast<size_t>(q)];
      const Philox random(seed_, static_cast<uint64_t>(m.user + 1));
      const auto size = static_cast<int64_t>(corpus_.size());
      // A Fisher-Yates shuffle of the places in the corpus, of which only the entries it moved are stored.
      std::unordered_map<int64_t, int64_t> moved;
      const auto entry = [&](int64_t i) {
        const auto found = moved.find(i);
        return found == moved.end() ? i : found->second;
      };
      int64_t step = 0;
      fill_row(out, q, seen_by(m, seen), [&]() -> std::pair<int64_t, float> {
        if (step == size) return {-1, 0};
        const auto pick =
            step + static_cast<int64_t>(random.below(static_cast<uint64_t>(step), static_cast<uint64_t>(size - step)));
        const int64_t item = corpus_[static_cast<size_t>(entry(pick))];
        moved[pick] = entry(step);
        return {item, -static_cast<float>(step++)};
      });
    }
  });
}

// The places that are left are equally likely: draws one for each relevant item, without replacement (Floyd).
void RandomRanking::first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                                const std::vector<int64_t>& after, int64_t* ranks) {
  for (size_t q = 0; q < users.size(); ++q) {
    const Philox random(seed_, (uint64_t{1} << 40) + static_cast<uint64_t>(users[q].user + 1));
    const auto list = seen_by(users[q], seen);
    const int64_t left = static_cast<int64_t>(corpus_.size()) - after[q] -
                         std::count_if(list.begin(), list.end(), [&](int32_t i) { return data_.available(i); });
    const int64_t wanted = relevant.offsets[q + 1] - relevant.offsets[q];
    std::set<int64_t> places;
    for (int64_t j = left - wanted; j < left; ++j) {
      const auto place = static_cast<int64_t>(random.below(static_cast<uint64_t>(j), static_cast<uint64_t>(j) + 1));
      if (!places.insert(place).second) places.insert(j);
    }
    ranks[q] = after[q] + 1 + *places.begin();
  }
}

}  // namespace tt
