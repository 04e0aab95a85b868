#include "huber_body.h"

#include <twotower/tensor/kernels/simd.h>

namespace tt::kernels::TT_ISA {
namespace {

template <class T>
void huber(const T* x, const T* target, T delta, int64_t n, T* loss, T* slope) {
  const vec<T> most = broadcast(delta), half = broadcast(T(0.5));
  TT_FOR_VECTORS (i, step, n) {  // step is W, and less at the end
    const vec<T> e = load_step(x + i, step) - load_step(target + i, step);
    const vec<T> s = max(-most, min(most, e));  // in this order of arguments NaN passes both
    store_step(loss + i, s * (e - half * s), step);
    store_step(slope + i, s, step);
  }
}

}  // namespace

TT_DEFINE_TABLES(HuberTable, huber, huber)

}  // namespace tt::kernels::TT_ISA
