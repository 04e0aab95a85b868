#include <twotower/tensor/error.h>
#include <twotower/tensor/kernels/dispatch.h>
#include <twotower/tensor/kernels/isa.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace tt::kernels {
namespace {

// __builtin_cpu_supports also asks XGETBV whether the operating system saves the wide registers.
bool is_supported(Isa isa) {
#if TT_X86_KERNELS
  __builtin_cpu_init();
  if (isa == Isa::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && is_supported(Isa::avx2);
#endif
  return isa == Isa::scalar;
}

Isa choose() {
  const char* wanted = std::getenv("TWOTOWER_ISA");
  if (wanted == nullptr || *wanted == '\0') return supported_isas().back();
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (std::string(wanted) != isa_name(isa)) continue;
    check(is_supported(isa), "TWOTOWER_ISA", "this machine does not support ", wanted, "; its widest is ",
          isa_name(supported_isas().back()));
    return isa;
  }
  fail("TWOTOWER_ISA", "unknown value \"", wanted, "\"; give scalar, avx2 or avx512");
}

std::atomic<int> active{-1};

}  // namespace

int active_isa_index() {
  int isa = active.load(std::memory_order_relaxed);
  if (isa < 0) [[unlikely]]
    active = isa = static_cast<int>(choose());
  return isa;
}

Isa active_isa() { return static_cast<Isa>(active_isa_index()); }

void set_isa(Isa isa) {
  check(is_supported(isa), "set_isa", "this machine does not support ", isa_name(isa), "; its widest is ",
        isa_name(supported_isas().back()));
  active = static_cast<int>(isa);
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
    if (is_supported(isa)) all.push_back(isa);
  return all;
}

const char* isa_name(Isa isa) { return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "scalar"; }

}  // namespace tt::kernels
