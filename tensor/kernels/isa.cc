#include <twotower/tensor/error.h>
#include <twotower/tensor/kernels/dispatch.h>
#include <twotower/tensor/kernels/isa.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

namespace tt::kernels {
namespace {

// __builtin_cpu_supports also asks XGETBV whether the operating system saves the wide registers.
bool is_supported(Isa isa) {
#if TT_X86_KERNELS
  __builtin_cpu_init();
  if (isa == Isa::avx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (isa == Isa::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && is_supported(Isa::avx2);
#endif
  return isa == Isa::scalar;
}

void check_supported(const char* where, Isa isa, const std::vector<Isa>& supported) {
  check(std::find(supported.begin(), supported.end(), isa) != supported.end(), where, "this machine does not support ",
        isa_name(isa), "; its widest is ", isa_name(supported.back()));
}

std::atomic<int> active{-1};

}  // namespace

int active_isa_index() {
  int isa = active.load(std::memory_order_relaxed);
  if (isa < 0) [[unlikely]]
    active = isa = static_cast<int>(choose_isa(std::getenv("TWOTOWER_ISA"), supported_isas()));
  return isa;
}

Isa active_isa() { return static_cast<Isa>(active_isa_index()); }

void set_isa(Isa isa) {
  check_supported("set_isa", isa, supported_isas());
  active = static_cast<int>(isa);
}

Isa choose_isa(const char* wanted, const std::vector<Isa>& supported) {
  if (wanted == nullptr || *wanted == '\0') return supported.back();
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (std::string(wanted) != isa_name(isa)) continue;
    check_supported("TWOTOWER_ISA", isa, supported);
    return isa;
  }
  fail("TWOTOWER_ISA", "unknown value \"", wanted, "\"; give scalar, avx2 or avx512");
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
    if (is_supported(isa)) all.push_back(isa);
  return all;
}

const char* isa_name(Isa isa) { return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "scalar"; }

}  // namespace tt::kernels
