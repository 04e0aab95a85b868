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
  Shape(std::initializer_list<int64_t> dims);  // throws Error on more than four or a negative one

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dims_[static_cast<size_t>(axis)]; }
  int64_t numel() const;              // product of the dimensions; 1 for rank 0
  int64_t rows() const;               // all but the last dimension, multiplied
  int64_t cols() const;               // the last dimension; 1 for rank 0
  bool operator==(const Shape& other) const = default;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);  // [32, 64]

}  // namespace tt
