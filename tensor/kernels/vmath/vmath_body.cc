#include <twotower/tensor/kernels/vmath/vmath_body.h>
#include <twotower/tensor/kernels/vmath/vmath_simd.h>

namespace tt::kernels::TT_ISA {
namespace {

#define TT_MAP(NAME, F)                                                             \
  template <class T>                                                                \
  void NAME(const T* x, T* y, int64_t n) {                                          \
    TT_FOR_VECTORS (i, step, n) store_step(y + i, F(load_step(x + i, step)), step); \
  }
TT_MAP(map_exp, exp)
TT_MAP(map_log, log)
TT_MAP(map_tanh, tanh)
TT_MAP(map_sigmoid, sigmoid)
TT_MAP(map_softplus, softplus)
TT_MAP(map_gelu, gelu)
TT_MAP(map_gelu_slope, gelu_slope)

}  // namespace

TT_DEFINE_TABLES(VmathTable, vmath, map_exp, map_log, map_tanh, map_sigmoid, map_softplus, map_gelu, map_gelu_slope)

}  // namespace tt::kernels::TT_ISA
