#pragma once
// Which instruction set the kernels run on. Every kernel's body is compiled once per set; the widest one that the CPU
// and its operating system support is chosen at first use. TWOTOWER_ISA=scalar|avx2|avx512 overrides the choice.

#include <vector>

namespace tt::kernels {

// scalar: the portable build, without any instruction-set flag. avx2: AVX2 + FMA + F16C. avx512: AVX-512 F, DQ, BW, VL.
enum class Isa { scalar = 0, avx2 = 1, avx512 = 2 };

Isa active_isa();                   // throws Error when TWOTOWER_ISA is unknown or this machine lacks it
void set_isa(Isa isa);              // for tests and benchmarks, not while kernels run; throws Error when unsupported
std::vector<Isa> supported_isas();  // narrowest first; always has scalar
const char* isa_name(Isa isa);      // as TWOTOWER_ISA spells it

// The set that TWOTOWER_ISA = `wanted` asks for on a machine that has `supported`; null or "": its widest. Throws Error
// when the value is unknown or the machine lacks it.
Isa choose_isa(const char* wanted, const std::vector<Isa>& supported);

}  // namespace tt::kernels
