#pragma once
// The best rows that a scan has met, by query. What is met goes into a reservoir of twice K places; when one is full
// its K best stay, and the worst of them is the new threshold: a few operations a row, where a heap takes log K.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>

namespace tt::kernels {

// Score and row as one number: the greater, the better; of equal scores the smaller row. Rows are below 2^32.
inline uint64_t rank_of(float score, int64_t row) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 ties with 0
  const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | static_cast<uint32_t>(~static_cast<uint32_t>(row));
}
inline float score_of(uint64_t rank) {
  const auto ordered = static_cast<uint32_t>(rank >> 32);
  return std::bit_cast<float>(ordered >> 31 ? ordered & 0x7fffffffu : ~ordered);
}
inline int64_t row_of(uint64_t rank) { return static_cast<int64_t>(~static_cast<uint32_t>(rank)); }

// Reservoirs of n queries, in memory of the caller's. Rows of a query must come in ascending order, so that one whose
// score equals the K-th best comes too late.
class Reservoirs {
 public:
  static constexpr int64_t kStrip = 32;  // thresholds are read in strips of so many

  static std::size_t bytes(int64_t n, int64_t k) {
    return static_cast<std::size_t>(n * places(k) + n) * 8 + static_cast<std::size_t>(padded(n)) * sizeof(float);
  }
  Reservoirs() = default;
  Reservoirs(void* memory, int64_t n, int64_t k) : n_(n), k_(k), places_(places(k)) {
    ranks_ = static_cast<uint64_t*>(memory);
    sizes_ = reinterpret_cast<int64_t*>(ranks_ + n * places_);
    thresholds_ = reinterpret_cast<float*>(sizes_ + n);
    std::fill_n(sizes_, n, int64_t{0});
    std::fill_n(thresholds_, n, -std::numeric_limits<float>::infinity());
    std::fill_n(thresholds_ + n, padded(n) - n, std::numeric_limits<float>::quiet_NaN());
  }

  // Lower scores cannot enter. NaN, which lets nothing pass, behind the last query and where K rows have score +inf.
  const float* thresholds() const { return thresholds_; }

  void add(int64_t q, float score, int64_t row) {
    uint64_t* ranks = ranks_ + q * places_;
    ranks[sizes_[q]++] = rank_of(score, row);
    if (sizes_[q] == places_) shrink(q);
  }
  void merge(int64_t q, const Reservoirs& other) {
    for (int64_t i = 0; i < other.sizes_[q]; ++i) {
      ranks_[q * places_ + sizes_[q]++] = other.ranks_[q * places_ + i];
      if (sizes_[q] == places_) shrink(q);
    }
  }
  // The best of all, best first; returns how many there are, at most K. The rest of the `k` places is -1 and -inf.
  int64_t write(int64_t q, int64_t k, int64_t* rows, float* scores) {
    uint64_t* ranks = ranks_ + q * places_;
    if (sizes_[q] > k_) shrink(q);
    std::sort(ranks, ranks + sizes_[q], std::greater<>());
    for (int64_t i = 0; i < sizes_[q]; ++i) rows[i] = row_of(ranks[i]), scores[i] = score_of(ranks[i]);
    for (int64_t i = sizes_[q]; i < k; ++i) rows[i] = -1, scores[i] = -std::numeric_limits<float>::infinity();
    return sizes_[q];
  }

 private:
  static int64_t places(int64_t k) { return 2 * k + 16; }
  static int64_t padded(int64_t n) { return (n + kStrip - 1) / kStrip * kStrip; }
  void shrink(int64_t q) {
    uint64_t* ranks = ranks_ + q * places_;
    std::nth_element(ranks, ranks + k_ - 1, ranks + sizes_[q], std::greater<>());
    sizes_[q] = k_;
    const float worst = score_of(ranks[k_ - 1]);
    thresholds_[q] = worst == std::numeric_limits<float>::infinity()
                         ? std::numeric_limits<float>::quiet_NaN()
                         : std::nextafter(worst, std::numeric_limits<float>::infinity());
  }

  uint64_t* ranks_ = nullptr;
  int64_t* sizes_ = nullptr;
  float* thresholds_ = nullptr;
  int64_t n_ = 0, k_ = 0, places_ = 0;
};

}  // namespace tt::kernels
