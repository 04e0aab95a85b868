#pragma once
// Threads, OpenMP's or the standard library's (team.h). Work is cut into chunks by its size, never by the number of
// threads, so a computation that combines per-chunk results in chunk order gives the same bits on 1, 2 or 64 threads.
//
// The host program's OpenMP settings are read and never changed. Everything here may be called from any thread:
// from a thread of the host's own (std::thread), which then has a team of its own, so give it a ThreadScope; from
// inside a parallel region of the host's, where the call runs on the calling thread alone; and in a process made by
// fork(), which has lost its parent's threads and whose calls, for as long as it lives, run on the calling thread
// alone.

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tt {

// Threads that a parallel_for called here and now may use: the innermost ThreadScope of this thread, else
// set_num_threads, else the host's OpenMP setting (OMP_NUM_THREADS, or the machine's cores). 1 inside a parallel
// region, ours or the host's, and after a fork.
int num_threads();

// The default of all threads of the process, for programs to set at start; libraries use a ThreadScope. n >= 1; throws
// Error otherwise. A count that changes all the time is slow: OpenMP ends and starts threads to match.
void set_num_threads(int n);

// While one lives on a thread, that thread's parallel_for uses at most n threads. ThreadScope(1) is for a background
// thread (the batch loader) that must not start a second team beside the trainer's. n >= 1; throws Error otherwise.
class ThreadScope {
 public:
  explicit ThreadScope(int n);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

// For a call into a library that asks OpenMP how many threads to use (oneDNN): while one lives, the calling thread's
// answer is num_threads(); then it is the host's again.
class OpenMpThreads {
 public:
  OpenMpThreads();
  ~OpenMpThreads();
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;

 private:
  int before_;
};

// A block of at least `bytes` bytes, 64-byte aligned, that belongs to the calling thread and keeps its content only
// until the thread's next call with the same slot (0..7). It grows and is never freed, so steady-state calls do not
// allocate. A kernel may use a slot only between two calls into other code.
void* thread_scratch(int slot, std::size_t bytes);

namespace detail {
using ChunkFunction = void (*)(void* context, int64_t chunk, int worker);
void run_chunks(int64_t chunks, ChunkFunction run, void* context);
}  // namespace detail

// Calls f(lo, hi) for [begin, begin+grain), [begin+grain, begin+2*grain), ...; the last chunk may be shorter.
// One chunk, or a call from inside another parallel_for, runs on the calling thread. If calls throw, the exception of
// the lowest chunk is rethrown after all threads have left.
// An f(lo, hi, worker) is told which worker calls it, 0 .. num_threads()-1, each one chunk at a time: for partial
// results of which it does not matter who found which.
template <class F>
void parallel_for(int64_t begin, int64_t end, int64_t grain, F&& f) {
  if (end <= begin) return;
  if (grain < 1) grain = 1;
  using Function = std::remove_reference_t<F>;
  struct Context {
    int64_t begin, end, grain;
    Function* f;
  } context{begin, end, grain, &f};
  detail::run_chunks((end - begin - 1) / grain + 1,
                     [](void* p, int64_t chunk, [[maybe_unused]] int worker) {
                       const Context& c = *static_cast<Context*>(p);
                       const int64_t lo = c.begin + chunk * c.grain;
                       const int64_t hi = c.end - lo > c.grain ? lo + c.grain : c.end;
                       if constexpr (std::is_invocable_v<Function&, int64_t, int64_t, int>)
                         (*c.f)(lo, hi, worker);
                       else
                         (*c.f)(lo, hi);
                     },
                     &context);
}

}  // namespace tt
