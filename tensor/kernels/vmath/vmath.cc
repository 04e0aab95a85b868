#include <twotower/tensor/kernels/vmath/vmath.h>
#include <twotower/tensor/kernels/vmath/vmath_body.h>
#include <twotower/tensor/threads/parallel.h>

namespace tt::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // a few microseconds of work

template <class T>
void map(typename VmathTable<T>::Map f, const T* x, T* y, int64_t n) {
  parallel_for(0, n, kGrain, [=](int64_t lo, int64_t hi) { f(x + lo, y + lo, hi - lo); });
}

}  // namespace

#define TT_MAP(NAME, F)                              \
  template <class T>                                 \
  void NAME(const T* x, T* y, int64_t n) {           \
    map<T>(vmath_body<T>().F, x, y, n);              \
  }                                                  \
  template void NAME(const float*, float*, int64_t); \
  template void NAME(const double*, double*, int64_t);
TT_MAP(vexp, exp)
TT_MAP(vlog, log)
TT_MAP(vtanh, tanh)
TT_MAP(vsigmoid, sigmoid)
TT_MAP(vsoftplus, softplus)
#undef TT_MAP

}  // namespace tt::kernels
