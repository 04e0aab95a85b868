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

// Inside namespace tt::kernels: declares the instances of Table<T> and `const Table<T>& name_body<T>()`. Float runs the
// active set; double, which gradient checks use, always runs the portable body, the one that the sets are tested
// against.
#if TT_X86_KERNELS
#define TT_KERNEL_TABLES(Table, name)                                                                         \
  namespace scalar {                                                                                          \
  extern const Table<float> name##_of_float;                                                                  \
  extern const Table<double> name##_of_double;                                                                \
  }                                                                                                           \
  namespace avx2 {                                                                                            \
  extern const Table<float> name##_of_float;                                                                  \
  }                                                                                                           \
  namespace avx512 {                                                                                          \
  extern const Table<float> name##_of_float;                                                                  \
  }                                                                                                           \
  template <class T>                                                                                          \
  [[maybe_unused]] static const Table<T>& name##_body() {                                                     \
    if constexpr (sizeof(T) == sizeof(double)) {                                                              \
      return scalar::name##_of_double;                                                                        \
    } else {                                                                                                  \
      const int isa = active_isa_index();                                                                     \
      return isa == 2 ? avx512::name##_of_float : isa == 1 ? avx2::name##_of_float : scalar::name##_of_float; \
    }                                                                                                         \
  }
#else
#define TT_KERNEL_TABLES(Table, name)                     \
  namespace scalar {                                      \
  extern const Table<float> name##_of_float;              \
  extern const Table<double> name##_of_double;            \
  }                                                       \
  template <class T>                                      \
  [[maybe_unused]] static const Table<T>& name##_body() { \
    if constexpr (sizeof(T) == sizeof(double))            \
      return scalar::name##_of_double;                    \
    else                                                  \
      return scalar::name##_of_float;                     \
  }
#endif

// The same for a kernel of float alone: `const Table& function()`.
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
