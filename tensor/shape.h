#pragma once
// The shape of a tensor: up to four dimensions, stored inline, row-major.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>

namespace tt {

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  // Throws Error on more than four, on a negative one, and on more elements than an int64_t counts (dimensions of 0
  // left out, so that no product of some of them overflows).
  Shape(std::initializer_list<int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dims_[static_cast<size_t>(axis)]; }
  int64_t numel() const { return product(rank_); }                      // 1 for rank 0
  int64_t rows() const { return product(rank_ - 1); }                   // all but the last dimension, multiplied
  int64_t cols() const { return rank_ == 0 ? 1 : (*this)[rank_ - 1]; }  // the last dimension, perhaps 0; 1 for rank 0
  bool operator==(const Shape& other) const = default;

 private:
  int64_t product(int count) const {
    int64_t n = 1;
    for (int i = 0; i < count; ++i) n *= (*this)[i];
    return n;
  }

  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);  // [32, 64]

}  // namespace tt
