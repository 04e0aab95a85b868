#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/evaluate/rankings/baseline_ranking.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace tt {
namespace {

constexpr int64_t kScores = int64_t{1} << 22;  // held at a time
constexpr int64_t kMostUsers = 256;            // scored at a time

}  // namespace

BaselineRanking::BaselineRanking(const Baseline& baseline, const Dataset& data)
    : baseline_(baseline),
      items_(data.num_items()),
      order_(static_cast<size_t>(items_)),
      place_(static_cast<size_t>(items_), -1) {
  std::iota(order_.begin(), order_.end(), 0);
  std::erase_if(order_, [&](int32_t item) { return !data.available(item); });
  const int64_t* positives = data.train_positives();
  std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) { return positives[a] > positives[b]; });
  for (size_t p = 0; p < order_.size(); ++p) place_[static_cast<size_t>(order_[p])] = static_cast<int32_t>(p);
}

template <class F>
void BaselineRanking::for_each(std::span<const UserMoment> users, const UserItems* seen, F f) {
  const auto tile = static_cast<size_t>(std::clamp<int64_t>(kScores / items_, 1, kMostUsers));
  scores_.resize(std::min(tile, users.size()) * static_cast<size_t>(items_));
  for (size_t lo = 0; lo < users.size(); lo += tile) {
    const auto some = users.subspan(lo, std::min(tile, users.size() - lo));
    baseline_.score(some, scores_.data());
    parallel_for(0, static_cast<int64_t>(some.size()), 4, [&](int64_t begin, int64_t end) {
      std::vector<float> by_place(order_.size());
      for (int64_t q = begin; q < end; ++q) {
        const float* row = scores_.data() + q * items_;
        for (size_t p = 0; p < order_.size(); ++p) by_place[p] = row[order_[p]];
        if (const int64_t user = some[static_cast<size_t>(q)].user; seen && user >= 0)
          for (const int32_t item : seen->of(user))
            if (const int32_t p = place_[static_cast<size_t>(item)]; p >= 0)
              by_place[static_cast<size_t>(p)] = std::numeric_limits<float>::quiet_NaN();
        f(static_cast<int64_t>(lo) + q, by_place);
      }
    });
  }
}

void BaselineRanking::top(std::span<const UserMoment> users, int64_t k, const UserItems* seen, TopItems& out) {
  out.resize(static_cast<int64_t>(users.size()), k);
  for_each(users, seen, [&](int64_t q, const std::vector<float>& by_place) {
    int64_t* rows = out.rows.data() + q * k;
    const int64_t found = kernels::topk_scores(by_place.data(), static_cast<int64_t>(by_place.size()), k, 0, rows,
                                               out.values.data() + q * k);
    for (int64_t r = 0; r < found; ++r) rows[r] = order_[static_cast<size_t>(rows[r])];
    std::fill(rows + found, rows + k, -1);
    std::fill(out.values.data() + q * k + found, out.values.data() + (q + 1) * k,
              -std::numeric_limits<float>::infinity());
    out.counts[static_cast<size_t>(q)] = found;
  });
}

void BaselineRanking::first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                                  const std::vector<int64_t>&, int64_t* ranks) {
  for_each(users, seen, [&](int64_t q, const std::vector<float>& by_place) {
    const auto before = [&](int64_t a, int64_t b) {
      const float x = by_place[static_cast<size_t>(a)], y = by_place[static_cast<size_t>(b)];
      return x > y || (x == y && a < b);
    };
    int64_t best = -1;
    for (int64_t at = relevant.offsets[static_cast<size_t>(q)]; at < relevant.offsets[static_cast<size_t>(q) + 1];
         ++at) {
      const int64_t p = place_[static_cast<size_t>(relevant.rows[static_cast<size_t>(at)])];
      if (best < 0 || before(p, best)) best = p;
    }
    ranks[q] = 1;
    for (int64_t p = 0; p < static_cast<int64_t>(by_place.size()); ++p) ranks[q] += before(p, best);
  });
}

bool BaselineRanking::score(const UserMoment& user, std::span<const int64_t> items, float* out) {
  scores_.resize(std::max(scores_.size(), static_cast<size_t>(items_)));
  baseline_.score({&user, 1}, scores_.data());
  for (size_t i = 0; i < items.size(); ++i) out[i] = scores_[static_cast<size_t>(items[i])];
  return true;
}

}  // namespace tt
