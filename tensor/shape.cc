#include <twotower/tensor/error.h>
#include <twotower/tensor/shape.h>

#include <algorithm>
#include <ostream>

namespace tt {

Shape::Shape(std::initializer_list<int64_t> dims) {
  check(dims.size() <= kMaxRank, "shape", dims.size(), " dimensions; at most ", kMaxRank, " are supported");
  for (const int64_t d : dims) {
    check(d >= 0, "shape", "dimension ", rank_, " is ", d, "; it must not be negative");
    dims_[static_cast<size_t>(rank_++)] = d;
  }
  int64_t n = 1;
  for (const int64_t d : dims)
    check(!__builtin_mul_overflow(n, std::max<int64_t>(d, 1), &n), "shape", *this,
          " has more elements than can be counted; check its sizes");
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape[i];
  return out << ']';
}

}  // namespace tt
