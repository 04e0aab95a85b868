#include "huber.h"

#include <twotower/tensor/threads/parallel.h>

#include "huber_body.h"

namespace tt::kernels {

constexpr int64_t kGrain = 16384;  // numbers a chunk: some microseconds, and the same chunks for any number of threads

template <class T>
void huber(const T* x, const T* target, T delta, int64_t n, T* loss, T* slope) {
  const auto f = huber_body<T>().huber;
  parallel_for(0, n, kGrain,
               [=](int64_t lo, int64_t hi) { f(x + lo, target + lo, delta, hi - lo, loss + lo, slope + lo); });
}

template void huber(const float*, const float*, float, int64_t, float*, float*);
template void huber(const double*, const double*, double, int64_t, double*, double*);

}  // namespace tt::kernels
