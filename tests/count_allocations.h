#pragma once
// Counts every allocation of the process, on all its threads, and makes one fail. It replaces malloc, so one source of
// a program includes it. (oneDNN allocates on its own account, but no layer's product in the tests is large enough for
// it.)

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
std::atomic<int64_t> fails{-1};  // the number of the one that fails

// Whether this one may be had.
inline bool count() {
  if (!counting.load(std::memory_order_relaxed)) return true;
  if (allocations.fetch_add(1, std::memory_order_relaxed) != fails.load(std::memory_order_relaxed)) return true;
  errno = ENOMEM;
  return false;
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

void* malloc(std::size_t n) { return tt::counter::count() ? __libc_malloc(n) : nullptr; }
void* calloc(std::size_t n, std::size_t size) { return tt::counter::count() ? __libc_calloc(n, size) : nullptr; }
void* realloc(void* p, std::size_t n) { return tt::counter::count() ? __libc_realloc(p, n) : nullptr; }
void* memalign(std::size_t unit, std::size_t n) { return tt::counter::count() ? __libc_memalign(unit, n) : nullptr; }
void* aligned_alloc(std::size_t unit, std::size_t n) { return memalign(unit, n); }
int posix_memalign(void** p, std::size_t unit, std::size_t n) {
  *p = memalign(unit, n);
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

// f() while allocation number n fails; false where it came to no n allocations.
template <class F>
bool with_failing_allocation(int64_t n, F&& f) {
  counter::fails = n;
  const bool reached = allocations_of(f) > n;
  counter::fails = -1;
  return reached;
}

}  // namespace tt
