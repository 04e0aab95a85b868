#pragma once
// The rows that may be among the K best of a query, each with an interval that holds its score. When their places are
// full, those go whose upper end does not reach the K-th best lower end, the threshold; if most stay, all are scored,
// and then K do.

#include <twotower/tensor/kernels/topk/reservoir.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace tt::kernels {

struct Candidate {
  float lower, upper;  // equal: the score itself
  uint32_t row;
  bool scored() const { return lower == upper; }
};

// Candidates of n queries, in memory of the caller's.
class Candidates {
 public:
  static std::size_t bytes(int64_t n, int64_t k) {
    return static_cast<std::size_t>(n * places(k)) * sizeof(Candidate) + static_cast<std::size_t>(n) * 8 +
           static_cast<std::size_t>(n) * sizeof(float);
  }
  Candidates() = default;
  // Thresholds are lower than they might be by `margin`.
  Candidates(void* memory, int64_t n, int64_t k, float margin) : k_(k), places_(places(k)), margin_(margin) {
    sizes_ = static_cast<int64_t*>(memory);
    thresholds_ = reinterpret_cast<float*>(sizes_ + n);
    all_ = reinterpret_cast<Candidate*>(thresholds_ + n);
    std::fill_n(sizes_, n, int64_t{0});
    std::fill_n(thresholds_, n, -std::numeric_limits<float>::infinity());
  }

  // What cannot reach them is not among the K best.
  const float* thresholds() const { return thresholds_; }

  // score(q, candidates, n) turns intervals into scores, leaving out what is NaN, and returns how many are left.
  template <class Score>
  void add(int64_t q, const Candidate& candidate, Score&& score) {
    Candidate* own = all_ + q * places_;
    own[sizes_[q]++] = candidate;
    if (sizes_[q] < places_) return;
    prune(q);
    if (sizes_[q] > k_ + (places_ - k_) / 2) settle(q, score);
  }
  template <class Score>
  void merge(int64_t q, const Candidates& other, Score&& score) {
    for (int64_t i = 0; i < other.sizes_[q]; ++i) add(q, other.all_[q * places_ + i], score);
  }
  // The best of all, best first; returns how many there are, at most K. The rest of the `k` places is -1 and -inf.
  template <class Score>
  int64_t write(int64_t q, int64_t k, int64_t* rows, float* scores, Score&& score) {
    Candidate* own = all_ + q * places_;
    prune(q);
    settle(q, score);
    std::sort(own, own + sizes_[q], Better());
    for (int64_t i = 0; i < sizes_[q]; ++i) rows[i] = own[i].row, scores[i] = own[i].lower + 0.0f;  // of -0: 0
    for (int64_t i = sizes_[q]; i < k; ++i) rows[i] = -1, scores[i] = -std::numeric_limits<float>::infinity();
    return sizes_[q];
  }

 private:
  static int64_t places(int64_t k) { return 2 * k + 128; }
  struct Better {
    bool operator()(const Candidate& a, const Candidate& b) const {
      return a.lower != b.lower ? a.lower > b.lower : a.row < b.row;
    }
  };
  void prune(int64_t q) {
    if (sizes_[q] <= k_) return;
    Candidate* own = all_ + q * places_;
    std::nth_element(own, own + k_ - 1, own + sizes_[q], Better());
    const float least = own[k_ - 1].lower;
    thresholds_[q] = std::max(thresholds_[q], least - margin_);
    const auto out = [least](const Candidate& c) { return c.upper < least; };
    sizes_[q] = std::remove_if(own + k_, own + sizes_[q], out) - own;
  }
  template <class Score>
  void settle(int64_t q, Score&& score) {
    Candidate* own = all_ + q * places_;
    sizes_[q] = score(q, own, sizes_[q]);
    if (sizes_[q] < k_) return;
    std::nth_element(own, own + k_ - 1, own + sizes_[q], Better());
    sizes_[q] = k_;
    thresholds_[q] = std::max(thresholds_[q], own[k_ - 1].lower - margin_);
  }

  Candidate* all_ = nullptr;
  int64_t* sizes_ = nullptr;
  float* thresholds_ = nullptr;
  int64_t k_ = 0, places_ = 0;
  float margin_ = 0;
};

}  // namespace tt::kernels
