#include <twotower/tensor/kernels/vmath/vmath.h>
#include <twotower/tensor/kernels/vmath/vmath_body.h>
#include <twotower/tensor/parallel.h>

namespace tt::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // a few microseconds of work

void map(VmathTable::Map f, const float* x, float* y, int64_t n) {
  parallel_for(0, n, kGrain, [=](int64_t lo, int64_t hi) { f(x + lo, y + lo, hi - lo); });
}

}  // namespace

void vexp(const float* x, float* y, int64_t n) { map(vmath_body().exp, x, y, n); }
void vlog(const float* x, float* y, int64_t n) { map(vmath_body().log, x, y, n); }
void vtanh(const float* x, float* y, int64_t n) { map(vmath_body().tanh, x, y, n); }
void vsigmoid(const float* x, float* y, int64_t n) { map(vmath_body().sigmoid, x, y, n); }
void vsoftplus(const float* x, float* y, int64_t n) { map(vmath_body().softplus, x, y, n); }

}  // namespace tt::kernels
