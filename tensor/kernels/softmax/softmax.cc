#include <twotower/tensor/kernels/softmax/softmax.h>
#include <twotower/tensor/kernels/softmax/softmax_body.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace tt::kernels {
namespace {

template <class T>
constexpr T kMinusInf = -std::numeric_limits<T>::infinity();

// Numbers as integers in the same order; NaN sorts to the ends instead of breaking the order.
template <class T>
using SortKey = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
template <class T>
SortKey<T> sort_key(T x) {
  SortKey<T> k;
  std::memcpy(&k, &x, sizeof k);
  return k < 0 ? k ^ std::numeric_limits<SortKey<T>>::max() : k;
}

}  // namespace

template <class T>
T softmax(T* p, int64_t n) {
  constexpr int64_t kBlock = 1024;  // short enough for sums in T; the blocks' are added in double
  const SoftmaxTable<T>& body = softmax_body<T>();
  const T top = body.bias_max(p, nullptr, n);
  if (top == kMinusInf<T>) {
    // NaN among nothing but -inf must still show.
    T shown = top;
    for (int64_t j = 0; j < n; ++j) {
      if (std::isnan(p[j])) shown = p[j];
      p[j] = 0;
    }
    if (std::isnan(shown)) std::fill_n(p, n, shown);
    return shown;
  }
  double total = 0;
  for (int64_t j = 0; j < n; j += kBlock)
    total += static_cast<double>(body.exp_sum(p + j, top, std::min(kBlock, n - j)));
  body.scale(p, static_cast<T>(1 / total), n);
  return static_cast<T>(static_cast<double>(top) + std::log(total));
}

template <class T>
void keep_highest(T* row, int64_t n, int64_t count) {
  using Key = SortKey<T>;
  if (count >= n) return;
  if (count <= 0) return std::fill_n(row, n, kMinusInf<T>), void();
  auto* keys = static_cast<Key*>(thread_scratch(2, static_cast<std::size_t>(n) * sizeof(Key)));
  for (int64_t j = 0; j < n; ++j) keys[j] = sort_key(row[j]);
  std::nth_element(keys, keys + (count - 1), keys + n, [](Key a, Key b) { return a > b; });
  const Key least = keys[count - 1];
  int64_t above = 0;
  for (int64_t j = 0; j < n; ++j) above += sort_key(row[j]) > least;
  int64_t ties = count - above;
  for (int64_t j = 0; j < n; ++j) {
    const Key key = sort_key(row[j]);
    if (key > least || (key == least && ties-- > 0)) continue;
    row[j] = kMinusInf<T>;
  }
}

template float softmax(float*, int64_t);
template double softmax(double*, int64_t);
template void keep_highest(float*, int64_t, int64_t);
template void keep_highest(double*, int64_t, int64_t);

}  // namespace tt::kernels
