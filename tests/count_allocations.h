#pragma once
// Counts every allocation of the process, on all its threads. It replaces malloc, so one source of a program includes
// it. (oneDNN allocates on its own account, but no layer's product in the tests is large enough for it.)

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define TT_SANITIZED 1
#endif
#endif

namespace tt::counter {

std::atomic<bool> counting{false};
std::atomic<int64_t> allocations{0};

inline void count() {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace tt::counter

#if defined(__GLIBC__) && !defined(TT_SANITIZED)
// glibc's own allocator, under the names it keeps for replacements. operator new ends in malloc or
// aligned_alloc.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t n) { return tt::counter::count(), __libc_malloc(n); }
void* calloc(std::size_t n, std::size_t size) { return tt::counter::count(), __libc_calloc(n, size); }
void* realloc(void* p, std::size_t n) { return tt::counter::count(), __libc_realloc(p, n); }
void* memalign(std::size_t unit, std::size_t n) { return tt::counter::count(), __libc_memalign(unit, n); }
void* aligned_alloc(std::size_t unit, std::size_t n) { return tt::counter::count(), __libc_memalign(unit, n); }
int posix_memalign(void** p, std::size_t unit, std::size_t n) {
  tt::counter::count();
  *p = __libc_memalign(unit, n);
  return *p ? 0 : ENOMEM;
}
}
namespace tt {
constexpr bool kCounts = true;
}
#else
namespace tt {
constexpr bool kCounts = false;
}
#endif

namespace tt {

template <class F>
int64_t allocations_of(F&& f) {
  counter::allocations = 0;
  counter::counting = true;
  f();
  counter::counting = false;
  return counter::allocations;
}

}  // namespace tt
