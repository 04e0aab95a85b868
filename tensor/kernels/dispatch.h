#pragma once
// How a kernel finds its body. Each OP/OP_body.cc is compiled once per instruction set, into the namespaces scalar,
// avx2 and avx512, and offers its functions as one constant table of plain pointers. The dispatching side, OP/OP.cc,
// is compiled without flags, owns threads and scratch memory, and calls body() for the table of the active set.

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define TT_X86_KERNELS 1
#else
#define TT_X86_KERNELS 0
#endif

namespace tt::kernels {
int active_isa_index();  // active_isa() as a number
}

// Inside namespace tt::kernels: declares Table's three instances and `const Table& function()`.
#if TT_X86_KERNELS
#define TT_KERNEL_TABLE(Table, table, function)                               \
  namespace scalar {                                                          \
  extern const Table table;                                                   \
  }                                                                           \
  namespace avx2 {                                                            \
  extern const Table table;                                                   \
  }                                                                           \
  namespace avx512 {                                                          \
  extern const Table table;                                                   \
  }                                                                           \
  [[maybe_unused]] static const Table& function() {                           \
    const int isa = active_isa_index();                                       \
    return isa == 2 ? avx512::table : isa == 1 ? avx2::table : scalar::table; \
  }
#else
#define TT_KERNEL_TABLE(Table, table, function) \
  namespace scalar {                            \
  extern const Table table;                     \
  }                                             \
  [[maybe_unused]] static const Table& function() { return scalar::table; }
#endif
