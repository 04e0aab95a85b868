#pragma once
// The one place with OpenMP. Work is cut into chunks by its size, never by the number of threads, so a computation
// that combines per-chunk results in chunk order gives the same bits on 1, 2 or 64 threads.

#include <cstdint>
#include <type_traits>

namespace tt {

int num_threads();            // threads a parallel_for may use
void set_num_threads(int n);  // n >= 1; throws Error otherwise
int thread_index();           // 0 .. num_threads()-1 inside a parallel_for, 0 outside

// While one lives on a thread, that thread's parallel_for runs serially: for a background thread (the batch loader)
// that must not start a second team beside the trainer's.
class SerialScope {
 public:
  SerialScope();
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

// A block of at least `bytes` bytes, 64-byte aligned, that belongs to the calling thread and keeps its content only
// until the thread's next call with the same slot (0..7). It grows and is never freed, so steady-state calls do not
// allocate. A kernel may use a slot only between two calls into other code.
void* thread_scratch(int slot, std::size_t bytes);

namespace detail {
using ChunkFunction = void (*)(void* context, int64_t chunk);
void run_chunks(int64_t chunks, ChunkFunction run, void* context);
}  // namespace detail

// Calls f(lo, hi) for [begin, begin+grain), [begin+grain, begin+2*grain), ...; the last chunk may be shorter.
// One chunk, or a call from inside another parallel_for, runs on the calling thread. If calls throw, the exception of
// the lowest chunk seen is rethrown after all threads have left.
template <class F>
void parallel_for(int64_t begin, int64_t end, int64_t grain, F&& f) {
  if (end <= begin) return;
  if (grain < 1) grain = 1;
  struct Context {
    int64_t begin, end, grain;
    std::remove_reference_t<F>* f;
  } context{begin, end, grain, &f};
  detail::run_chunks((end - begin + grain - 1) / grain,
                     [](void* p, int64_t chunk) {
                       const Context& c = *static_cast<Context*>(p);
                       const int64_t lo = c.begin + chunk * c.grain;
                       const int64_t hi = lo + c.grain < c.end ? lo + c.grain : c.end;
                       (*c.f)(lo, hi);
                     },
                     &context);
}

}  // namespace tt
