#pragma once
// A tensor is a view: a pointer and a shape, row-major and contiguous, cheap to copy. The memory belongs to a Pool, an
// Arena, a memory-mapped file or the caller, and must outlive the view.

#include <twotower/tensor/memory.h>
#include <twotower/tensor/shape.h>

#include <algorithm>
#include <type_traits>

namespace tt {

template <class T>
class Tensor {
 public:
  Tensor() = default;
  Tensor(T* data, Shape shape) : data_(data), shape_(shape) {}

  T* data() const { return data_; }
  const Shape& shape() const { return shape_; }
  int64_t numel() const { return data_ ? shape_.numel() : 0; }
  int64_t rows() const { return shape_.rows(); }
  int64_t cols() const { return shape_.cols(); }
  T& operator[](int64_t i) const { return data_[i]; }
  T* row(int64_t i) const { return data_ + i * cols(); }
  explicit operator bool() const { return data_ != nullptr; }
  operator Tensor<const T>() const  // NOLINT: a view may always become a read-only view
      requires(!std::is_const_v<T>) {
    return {data_, shape_};
  }

  T* begin() const { return data_; }
  T* end() const { return data_ + numel(); }
  void fill(T x) const requires(!std::is_const_v<T>) { std::fill(begin(), end(), x); }

 private:
  T* data_ = nullptr;
  Shape shape_;
};

// Contents undefined; valid until arena.reset().
template <class T>
Tensor<T> make_tensor(Arena& arena, const Shape& shape) {
  return {arena.allocate<T>(shape.numel()), shape};
}

// Zeroed; valid while the pool lives.
template <class T>
Tensor<T> make_tensor(Pool& pool, const Shape& shape) {
  return {pool.allocate<T>(shape.numel()), shape};
}

}  // namespace tt
