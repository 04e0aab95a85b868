// A kernel of one's own against plain loops: on every instruction set that this machine has, in float and in double,
// at lengths that fill no vector, and with the same bits on one thread and two.

#include <twotower/tensor/kernels/isa.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <cmath>
#include <cstdio>
#include <vector>

#include "huber.h"

using namespace tt;

namespace {

template <class T>
double worst_error(int64_t n) {
  const auto size = static_cast<size_t>(n);
  const T delta = T(1.25);
  std::vector<T> x(size), target(size), loss(size), slope(size), once;
  Philox(1).fill_normal(x.data(), n, T(0), T(2));
  Philox(2).fill_normal(target.data(), n, T(0), T(1));
  for (const int threads : {1, 2}) {
    set_num_threads(threads);
    kernels::huber(x.data(), target.data(), delta, n, loss.data(), slope.data());
    if (threads == 1) once = loss;
  }
  double worst = once == loss ? 0 : HUGE_VAL;
  for (size_t i = 0; i < size; ++i) {
    const double e = static_cast<double>(x[i]) - static_cast<double>(target[i]), a = std::abs(e), d = 1.25;
    worst = std::max(worst, std::abs((a <= d ? e * e / 2 : d * (a - d / 2)) - static_cast<double>(loss[i])));
    worst = std::max(worst, std::abs((a <= d ? e : std::copysign(d, e)) - static_cast<double>(slope[i])));
  }
  return worst;
}

}  // namespace

int main() {
  bool right = true;
  for (const kernels::Isa isa : kernels::supported_isas()) {
    kernels::set_isa(isa);
    for (const int64_t n : {0, 1, 7, 33, 50001}) {
      const double in_float = worst_error<float>(n), in_double = worst_error<double>(n);
      right = right && in_float < 1e-5 && in_double < 1e-14;
      if (n == 50001)
        std::printf("instruction set %d: worst error %.1e in float, %.1e in double\n", static_cast<int>(isa), in_float,
                    in_double);
    }
  }
  return right ? 0 : 1;
}
